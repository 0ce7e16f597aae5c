r"""Reads lines from files or standard input while they come in, and writes lines to a place.

A line ends with `\n` alone; one `\r` before it and a byte order mark at the start of a file are
removed. What gzip or zstd compressed is told by its first bytes, in a pipe too.
"""

import gzip
import os
import select
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

from kdray.errors import DataError, InputError
from kdray.storage.disk import disk_errors
from kdray.storage.whole import whole
from kdray.text.lines import decoded

COMPRESSED = (".gz", ".zst")
_CHUNK_BYTES = 1 << 18
_PAUSE_SECONDS = 0.05  # nothing has come in for so long: translate what is there
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ZSTD_MAX_WINDOW = 1 << 31  # what `zstd --long=31` writes


def _gunzip() -> Any:  # noqa: ANN401 (both libraries have a type of their own without a name)
    return zlib.decompressobj(wbits=31)


def _unzstd() -> Any:  # noqa: ANN401
    return zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW).decompressobj()


_DECOMPRESSORS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": _gunzip,
    b"\x28\xb5\x2f\xfd": _unzstd,
}
"""What opens a compressed stream, by the bytes that it begins with."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line, and where it stands: in words, and by its number in all of the input, from 0."""

    text: str
    place: str
    number: int


def read_lines(paths: Sequence[Path]) -> Iterator[Line | None]:
    """All lines of the files, or of standard input, in order; None when nothing comes in.

    Raises:
        DataError: a file is missing, damaged or truncated, or a line is not UTF-8.
    """
    number = 0
    sources: Sequence[Path | None] = paths or [None]
    for path in sources:
        name, row = "standard input" if path is None else str(path), 0
        for raw in _raw_lines(_plain_chunks(path, name)):
            if raw is None:
                yield None
                continue
            row += 1
            if row == 1:
                raw = raw.removeprefix(_BYTE_ORDER_MARK)
            place = f"{name}, line {row}"
            yield Line(decoded(raw.removesuffix(b"\r"), place), place, number)
            number += 1


@contextmanager
def written_to(path: Path | None) -> Iterator[BinaryIO]:
    """Where lines are written: standard output, or a file, whose name tells whether by gzip.

    The file is there when all is written, and not before. What is no file, as a device or a pipe,
    is written to as it is; a link stays, and leads to the file.

    Raises:
        InputError: there cannot be such a file.
    """
    if path is None:
        yield cast("BinaryIO", sys.stdout.buffer)
        return
    if path.is_dir() or not path.parent.is_dir() or path.suffix == ".zst":
        raise InputError(
            f"--output {path}: name a file in a folder that exists; one that ends in .gz is "
            "compressed, .zst cannot be written"
        )
    path = path.resolve()
    aside = nullcontext(path) if path.exists() and not path.is_file() else whole(path)
    with disk_errors(path), aside as place, place.open("wb") as plain:
        if path.suffix == ".gz":
            with gzip.open(plain, "wb") as file:
                yield cast("BinaryIO", file)
        else:
            yield plain


def _raw_lines(chunks: Iterator[bytes | None]) -> Iterator[bytes | None]:
    """The lines in a stream, without their ends; None where it pauses."""
    pending: list[bytes] = []  # parts of a line whose end has not been read
    for chunk in chunks:
        if chunk is None:
            yield None
            continue
        *complete, rest = chunk.split(b"\n")
        if complete:
            complete[0] = b"".join([*pending, complete[0]])
            pending.clear()
            yield from complete
        pending.append(rest)
    if last := b"".join(pending):
        yield last


def _plain_chunks(path: Path | None, name: str) -> Iterator[bytes | None]:
    """The content of a file or of standard input, without its compression."""
    try:
        chunks = _stdin_chunks() if path is None else _file_chunks(path)
        begin = b""
        for chunk in chunks:
            begin += chunk or b""
            if begin and not any(
                len(begin) < len(m) and m.startswith(begin) for m in _DECOMPRESSORS
            ):
                break
        new = next((new for magic, new in _DECOMPRESSORS.items() if begin.startswith(magic)), None)
        if new is None:
            yield begin
            yield from chunks
        else:
            yield from _decompressed(begin, chunks, new)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise DataError(
            f"{name}: cannot be read to its end ({reason}); give the path of a file that can"
        ) from None


def _decompressed(
    begin: bytes, chunks: Iterator[bytes | None], new: Callable[[], Any]
) -> Iterator[bytes | None]:
    """All that was compressed, by one after another: `cat` of compressed files is one, too."""
    part, chunk = None, cast("bytes | None", begin)
    while True:
        if chunk is None:
            yield None
        while chunk:
            part = part or new()
            yield part.decompress(chunk)
            chunk, part = (part.unused_data, None) if part.eof else (b"", part)
        try:
            chunk = next(chunks)
        except StopIteration:
            break
    if part is not None:
        raise EOFError("it is truncated")


def _file_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _stdin_chunks() -> Iterator[bytes | None]:
    """What is there, as soon as it is there; None once before each wait."""
    descriptor = sys.stdin.fileno()
    while True:
        if not select.select([descriptor], [], [], _PAUSE_SECONDS)[0]:
            yield None
        if not (chunk := os.read(descriptor, _CHUNK_BYTES)):
            return
        yield chunk
