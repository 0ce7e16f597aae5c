r"""The lines of a file, however it is compressed.

A line ends with `\n` and with nothing else: U+2028, form feeds and the like are text. One `\r` at
the end of a line and a byte order mark at the start of a file are removed.
"""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import zstandard

from kdray.errors import DataError

_CHUNK_BYTES = 1 << 18
_ZSTD_MAX_WINDOW = 1 << 31  # what `zstd --long=31` writes
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a file, whose suffix says how it is compressed.

    Raises:
        DataError: it cannot be read to its end, or is not UTF-8.
    """
    return lines(chunks(path), str(path))


def lines(content: Iterable[bytes], place: str) -> Iterator[str]:
    """The lines of what comes in chunks; `place` names it in messages.

    Raises:
        DataError: it is not UTF-8.
    """
    return chain.from_iterable(_blocks(content, place))


def chunks(path: Path) -> Iterator[bytes]:
    """The uncompressed content of a file.

    Raises:
        DataError: it cannot be read to its end.
    """
    try:
        if path.suffix == ".zst":
            yield from _zstd_chunks(path)
            return
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise DataError(
            f"{path}: cannot be read to its end ({one_line(error)}); get the file again"
        ) from None


def decoded(raw: bytes, place: str) -> str:
    """Text, or a DataError that says where it is not UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{place}: byte {error.start + 1} is 0x{raw[error.start]:02x}, which is not "
            "UTF-8; convert the file, for example with `iconv -f <its encoding> -t UTF-8`"
        ) from None


def json_of(line: str, place: str) -> Any:  # noqa: ANN401 (JSON)
    """What a line of JSON holds, or a DataError that says where it is none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{place}: not a JSON object ({error}); write one object on each line"
        ) from None


def whole_characters(text: str, place: str) -> str:
    """Text of a JSON string, or a DataError that says where it has half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place} has half of a surrogate pair at character {error.start + 1}, "
            f"\\u{ord(text[error.start]):x}; write both halves"
        ) from None
    return text


def one_line(error: BaseException) -> str:
    """What an error says, without its line breaks."""
    return " ".join(str(error).split())


def _blocks(content: Iterable[bytes], place: str) -> Iterator[list[str]]:
    """Lists of lines; many are decoded at once, which is much faster than one by one."""
    number, pending = 1, list[bytes]()  # parts of a line whose end has not been read
    for chunk in content:
        end = chunk.rfind(b"\n")
        if end < 0:
            pending.append(chunk)
            continue
        block = _block(b"".join([*pending, chunk[:end]]), place, number)
        yield block
        number += len(block)
        pending = [chunk[end + 1 :]]
    if last := b"".join(pending):
        yield _block(last, place, number)


def _block(raw: bytes, place: str, number: int) -> list[str]:
    """Lines; the first has this number."""
    if number == 1:
        raw = raw.removeprefix(_BYTE_ORDER_MARK)
    try:
        block = raw.decode("utf-8").split("\n")
    except UnicodeDecodeError:  # which line is it?
        parts = enumerate(raw.split(b"\n"), start=number)
        block = [decoded(part, f"{place}, line {line}") for line, part in parts]
    return [line.removesuffix("\r") for line in block] if b"\r" in raw else block


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
