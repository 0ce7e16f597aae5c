"""Reads sentence pairs from a user's files, in their order.

No reader skips a line: what cannot be read is a DataError. What a line is says `kdray.text.lines`,
and which files a source has `kdray.text.parts`. Imports neither torch nor ray.
"""

import json
from collections.abc import Iterator
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import assert_never

import pyarrow as pa
import pyarrow.parquet as pq

from kdray.config.sources import (
    ArchivePairs,
    HuggingFacePairs,
    JsonlPairs,
    Mixture,
    PairSource,
    ParquetPairs,
    SacrebleuPairs,
    TextPairs,
    TmxPairs,
    TsvPairs,
)
from kdray.errors import DataError
from kdray.text.archives import archive_sides
from kdray.text.lines import decoded, json_of, lines_of, one_line, whole_characters
from kdray.text.parts import Part, parts_of
from kdray.text.tmx import tmx_pairs

_BATCH_ROWS = 8192


def read_pairs(source: PairSource | Mixture, folder: str | Path) -> Iterator[tuple[str, str]]:
    """The pairs (source text, target text) of a source, in the order of its files.

    Nothing is read before the first pair is asked for. Text is given as it stands in the file:
    surrounding white space is kept.

    Raises:
        DataError: a file is missing, unreadable, truncated or outside `folder`; a line is not
            UTF-8 or not in the format; two sides differ in length.
    """
    for part in parts_of(source, folder):
        yield from read_part(part)


def read_part(part: Part) -> Iterator[tuple[str, str]]:
    """The pairs of one part, all of them.

    Raises:
        DataError: see `read_pairs`.
    """
    source, path = part.source, part.files[0]
    match source:
        case TextPairs():
            src, tgt = part.files
            return _sides((str(src), lines_of(src)), (str(tgt), lines_of(tgt)))
        case ArchivePairs():
            return _sides(*archive_sides(path, source.src_suffix, source.tgt_suffix))
        case TmxPairs():
            return tmx_pairs(path, source.src_tag, source.tgt_tag)
        case TsvPairs():
            return _tsv_pairs(source, path, part.first_line)
        case JsonlPairs():
            return _jsonl_pairs(source, path)
        case ParquetPairs():
            return _parquet_pairs(source, path)
        case SacrebleuPairs() | HuggingFacePairs():
            raise AssertionError("its parts are of another format")
        case _:
            assert_never(source)


def _sides(
    src_side: tuple[str, Iterator[str]], tgt_side: tuple[str, Iterator[str]]
) -> Iterator[tuple[str, str]]:
    """The lines of both sides, whose places are named in messages."""
    (src_place, src_lines), (tgt_place, tgt_lines) = src_side, tgt_side
    pairs = zip_longest(src_lines, tgt_lines)
    for count, (src, tgt) in enumerate(pairs):
        if src is None or tgt is None:
            longer = count + 1 + sum(1 for _ in pairs)
            src_count, tgt_count = (count, longer) if src is None else (longer, count)
            raise DataError(
                f"{src_place} has {src_count} lines and {tgt_place} has {tgt_count}: they do not "
                "translate each other line by line; restore the pair of files from one source"
            )
        yield src, tgt


def _tsv_pairs(source: TsvPairs, path: Path, first_line: int) -> Iterator[tuple[str, str]]:
    needed = max(source.src_column, source.tgt_column) + 1
    for number, line in islice(enumerate(lines_of(path), start=1), first_line - 1, None):
        cells = line.split("\t")
        if len(cells) < needed:
            raise DataError(
                f"{path}, line {number}: {len(cells)} tab-separated columns, but src_column "
                f"{source.src_column} and tgt_column {source.tgt_column} need {needed} (columns "
                "count from 0); correct the columns or the line"
            )
        yield cells[source.src_column], cells[source.tgt_column]


def _jsonl_pairs(source: JsonlPairs, path: Path) -> Iterator[tuple[str, str]]:
    src_keys, tgt_keys = source.src_field.split("."), source.tgt_field.split(".")
    for number, line in enumerate(lines_of(path), start=1):
        where = f"{path}, line {number}"
        value = json_of(line, where)
        yield _json_text(value, src_keys, where), _json_text(value, tgt_keys, where)


def _json_text(value: object, keys: list[str], where: str) -> str:
    for depth, key in enumerate(keys):
        if not isinstance(value, dict) or key not in value:
            place = ".".join(keys[:depth]) or "the line"
            content = f"fields {sorted(value)}" if isinstance(value, dict) else type(value).__name__
            raise DataError(
                f"{where}: no field {'.'.join(keys)}, {place} holds {content}; correct src_field, "
                "tgt_field or the line"
            )
        value = value[key]
    if not isinstance(value, str):
        raise DataError(
            f"{where}: field {'.'.join(keys)} holds {json.dumps(value)[:60]}, which is not a "
            "string; correct src_field, tgt_field or the line"
        )
    return whole_characters(value, f"{where}: field {'.'.join(keys)}")


def _parquet_pairs(source: ParquetPairs, path: Path) -> Iterator[tuple[str, str]]:
    names = [source.src_column, source.tgt_column]
    batches = (map(_bytes_of, map(batch.column, names)) for batch in _parquet_batches(path, names))
    rows = chain.from_iterable(zip(*columns, strict=True) for columns in batches)
    for row, (src, tgt) in enumerate(rows, start=1):
        if src is None or tgt is None:
            raise DataError(
                f"{path}, row {row}: column {names[0] if src is None else names[1]} is null; "
                "fill the value or remove the row"
            )
        yield decoded(src, f"{path}, row {row}"), decoded(tgt, f"{path}, row {row}")


def _parquet_batches(path: Path, names: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow, names)
            yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=sorted(set(names)))
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path}: cannot be read as Parquet ({one_line(error)}); get the file again"
        ) from None


def _check_columns(path: Path, schema: pa.Schema, names: list[str]) -> None:
    for name in names:
        if name not in schema.names:
            raise DataError(
                f"{path}: no column {name!r}, there are {', '.join(map(repr, schema.names))}; "
                "correct src_column or tgt_column"
            )
        kind = schema.field(name).type
        text = kind.value_type if pa.types.is_dictionary(kind) else kind
        if text not in (pa.string(), pa.large_string(), pa.string_view()):
            raise DataError(
                f"{path}: column {name!r} holds {kind}, not strings; name a column of text"
            )


def _bytes_of(column: pa.Array) -> list[bytes | None]:
    """Undecoded, because Arrow does not check that its strings are UTF-8."""
    return list(column.cast(pa.large_string()).cast(pa.large_binary()).to_pylist())
