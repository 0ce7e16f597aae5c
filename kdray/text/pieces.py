"""Which pieces are ids of? Tables of ids say it, and it is compared where ids meet a tokenizer.

A tokenizer is trained, and another version of SentencePiece may make other pieces of the same
corpus, under the same fingerprint. So the fingerprint of a tokenizer does not prove that ids are
its own; its checksum does.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from kdray.errors import DataError
from kdray.text.tokenizer import Tokenizer

_PIECES = b"pieces"
SOME = 100
"""So many rows are looked at where nobody wrote down which pieces their ids are of."""


def of_pieces(table: pa.Table, checksum: str | None) -> pa.Table:
    """A table that says which tokenizer's its ids are; nothing, if nobody knows."""
    metadata = dict(table.schema.metadata or {})
    metadata.pop(_PIECES, None)
    return table.replace_schema_metadata(
        metadata if checksum is None else {**metadata, _PIECES: checksum.encode()}
    )


def pieces_of(table: pa.Table) -> str | None:
    """The checksum of the tokenizer whose ids a table holds; None if it does not say."""
    found = (table.schema.metadata or {}).get(_PIECES)
    return None if found is None else str(found.decode())


def check_pieces(found: str | None, wanted: str | None, *, what: Path, of: str) -> None:
    """Refuse ids that are not those of the tokenizer that they meet; what is unknown passes.

    Args:
        found: the tokenizer whose ids `what` holds.
        wanted: the tokenizer of what they meet.
        what: the folder of the ids, or of the model that reads and writes them.
        of: what they meet, in words.

    Raises:
        DataError: they are of another one.
    """
    if None not in (found, wanted) and found != wanted:
        raise DataError(
            f"{what}: its ids are of the tokenizer {found}, and {of} has {wanted}; one of them was "
            f"made again in another way. Remove the folder {what} and run again; if this is said "
            "again, remove the model that made it, too"
        )


def check_rows(
    ids: Sequence[Sequence[int]], texts: Sequence[str], tokenizer: Tokenizer, *, what: Path
) -> None:
    """The same for a table that does not say whose ids it holds, by some of its target texts.

    Ids agree with a text if they are what the tokenizer makes of it, or if it makes the text of
    them; of another tokenizer, next to none agree. It is enough if half of them do.

    Raises:
        DataError: they are of another one.
    """
    known = [max(row, default=0) < tokenizer.tgt_vocab for row in ids]
    some = [row for row, is_known in zip(ids, known, strict=True) if is_known]
    said = iter(tokenizer.decode_tgt(some))
    made = tokenizer.encode_tgt(list(texts))
    agree = sum(
        is_known and (next(said) == text.strip() or list(row) == own)
        for is_known, row, own, text in zip(known, ids, made, texts, strict=True)
    )
    if 2 * agree < len(ids):
        raise DataError(
            f"{what}: its ids are not those of the tokenizer {tokenizer.checksum}, which was made "
            f"again in another way; remove the folder {what} and run again"
        )
