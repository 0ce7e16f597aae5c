r"""Reads sentence pairs from a user's files, in their order.

A line ends with `\n` and with nothing else: U+2028, form feeds and the like are text. One `\r` at
the end of a line and a byte order mark at the start of a file are removed. No reader skips a line:
what cannot be read is a DataError. Imports neither torch nor ray.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import assert_never

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from kdray.config.text import JsonlPairs, PairSource, ParquetPairs, TextPairs, TsvPairs
from kdray.errors import DataError

_CHUNK_BYTES = 1 << 18
_BATCH_ROWS = 8192
_ZSTD_MAX_WINDOW = 1 << 31  # what `zstd --long=31` writes
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_pairs(source: PairSource, folder: Path) -> Iterator[tuple[str, str]]:
    """The pairs (source text, target text) of a source, in the order of its files.

    Nothing is read before the first pair is asked for. Text is given as it stands in the file:
    surrounding white space is kept.

    Raises:
        DataError: a file is missing, unreadable, truncated or outside `folder`; a line is not
            UTF-8 or not in the format; the two sides of a TextPairs differ in length.
    """
    paths = source_files(source, folder)
    match source:
        case TextPairs():
            yield from _text_pairs(*paths)
        case TsvPairs():
            yield from _tsv_pairs(source, *paths)
        case JsonlPairs():
            yield from _jsonl_pairs(source, *paths)
        case ParquetPairs():
            yield from _parquet_pairs(source, *paths)
        case _:
            assert_never(source)


def source_files(source: PairSource, folder: Path) -> list[Path]:
    """The files of a source: source side and target side of TextPairs, else the one file.

    Raises:
        DataError: a file is missing, or lies outside `folder` (a symbolic link may lead there).
    """
    names = [source.src, source.tgt] if isinstance(source, TextPairs) else [source.path]
    return [_existing(folder, name) for name in names]


def first_line(source: PairSource) -> int:
    """Number of the line that holds the first pair, counted from 1; it is 2 below a header."""
    return 2 if isinstance(source, TsvPairs) and source.header else 1


def _existing(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(
            f"{path}: is a link to {path.resolve()}, outside the corpus folder; copy the file "
            "into the folder, or name the folder that holds it as corpus.folder"
        )
    if not path.is_file():
        fault = "is a folder or a device" if path.exists() else "does not exist"
        raise DataError(f"{path}: {fault}; correct the file name or corpus.folder")
    return path


def _text_pairs(src_path: Path, tgt_path: Path) -> Iterator[tuple[str, str]]:
    pairs = zip_longest(_lines(src_path), _lines(tgt_path))
    for count, (src, tgt) in enumerate(pairs):
        if src is None or tgt is None:
            longer = count + 1 + sum(1 for _ in pairs)
            src_count, tgt_count = (count, longer) if src is None else (longer, count)
            raise DataError(
                f"{src_path} has {src_count} lines and {tgt_path} has {tgt_count}: they do not "
                "translate each other line by line; restore the pair of files from one source"
            )
        yield src, tgt


def _tsv_pairs(source: TsvPairs, path: Path) -> Iterator[tuple[str, str]]:
    needed = max(source.src_column, source.tgt_column) + 1
    for number, line in islice(enumerate(_lines(path), start=1), first_line(source) - 1, None):
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
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path}, line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{where}: not a JSON object ({error}); write one object on each line"
            ) from None
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
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: field {'.'.join(keys)} has half of a surrogate pair at character "
            f"{error.start + 1}, \\u{ord(value[error.start]):x}; write both halves"
        ) from None
    return value


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
        yield _decoded(src, path, f"row {row}"), _decoded(tgt, path, f"row {row}")


def _parquet_batches(path: Path, names: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow, names)
            yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=sorted(set(names)))
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path}: cannot be read as Parquet ({_one_line(error)}); get the file again"
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


def _lines(path: Path) -> Iterator[str]:
    for number, raw in enumerate(_raw_lines(path), start=1):
        if number == 1:
            raw = raw.removeprefix(_BYTE_ORDER_MARK)
        yield _decoded(raw.removesuffix(b"\r"), path, f"line {number}")


def _raw_lines(path: Path) -> Iterator[bytes]:
    pending: list[bytes] = []  # parts of a line whose end has not been read
    for chunk in _chunks(path):
        *complete, rest = chunk.split(b"\n")
        if complete:
            complete[0] = b"".join([*pending, complete[0]])
            pending.clear()
            yield from complete
        pending.append(rest)
    if last := b"".join(pending):
        yield last


def _chunks(path: Path) -> Iterator[bytes]:
    """The uncompressed content of a file, whose suffix says how it is compressed."""
    try:
        if path.suffix == ".zst":
            yield from _zstd_chunks(path)
            return
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise DataError(
            f"{path}: cannot be read to its end ({_one_line(error)}); get the file again"
        ) from None


def _zstd_chunks(path: Path) -> Iterator[bytes]:
    """All frames of a file. zstandard's own file object is silent about a truncated last frame."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW)
    frame = None
    with path.open("rb") as file:
        while compressed := file.read(_CHUNK_BYTES):
            while compressed:
                frame = frame or decompressor.decompressobj()
                yield frame.decompress(compressed)
                compressed, frame = frame.unused_data, None if frame.eof else frame
    if frame is not None:
        raise EOFError("the last zstd frame is truncated")


def _decoded(raw: bytes, path: Path, place: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, {place}: byte {error.start + 1} is 0x{raw[error.start]:02x}, which is not "
            "UTF-8; convert the file, for example with `iconv -f <its encoding> -t UTF-8`"
        ) from None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
