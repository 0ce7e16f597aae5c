"""The pieces of a model of Hugging Face, in the order of their ids, each once.

CTranslate2 knows pieces by their texts. Tokenizers do not list all of theirs: M2M100 leaves out its
languages, and sizes are rounded up with words that nobody writes. Marian may have a vocabulary of
its own for each side, and `convert_ids_to_tokens` gives pieces of the target for ids of the source.
"""

from dataclasses import dataclass
from itertools import count
from typing import Any

from kdray.errors import DataError


@dataclass(frozen=True, slots=True)
class Vocabularies:
    """The pieces of both sides, and of the target those that a translation never has."""

    src: list[str]
    tgt: list[str]
    never: frozenset[int]


def vocabularies(tokenizer: Any, config: Any) -> Vocabularies:  # noqa: ANN401
    """Of a tokenizer and the configuration of its model.

    Raises:
        DataError: two ids have the same piece.
    """
    src_size = config.vocab_size
    tgt_size = getattr(config, "decoder_vocab_size", None) or src_size
    if getattr(tokenizer, "separate_vocabs", False):
        src, tgt = dict(tokenizer.encoder), dict(tokenizer.target_encoder)
    else:
        src = dict(tokenizer.get_vocab())
        for i, name in getattr(tokenizer, "id_to_lang_token", {}).items():
            src[name] = i
        tgt = src
    names = {*map(str, tokenizer.all_special_tokens), *getattr(tokenizer, "lang_token_to_id", ())}
    never = {tgt[name] for name in names if name in tgt} - {config.eos_token_id}
    return Vocabularies(
        src=_in_order(src, src_size), tgt=_in_order(tgt, tgt_size), never=frozenset(never)
    )


def _in_order(ids: dict[str, int], size: int) -> list[str]:
    pieces: list[str | None] = [None] * size
    for piece, i in ids.items():
        if i >= size:
            continue
        if (other := pieces[i]) is not None:
            raise DataError(
                f"recipe.teacher: its tokenizer calls number {i} both {other!r} and {piece!r}, so "
                "it is not known which the model means"
            )
        pieces[i] = piece
    made_up = (name for i in count() if (name := f"madeupword{i}") not in ids)
    return [next(made_up) if piece is None else piece for piece in pieces]
