"""Reads pairs from a zip archive with one text file for each language, as OPUS distributes them.

Nothing is extracted, so no name in an archive can lead anywhere.
"""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from kdray.errors import DataError
from kdray.text.lines import lines, one_line

_CHUNK_BYTES = 1 << 18


def archive_sides(
    path: Path, src_suffix: str, tgt_suffix: str
) -> tuple[tuple[str, Iterator[str]], tuple[str, Iterator[str]]]:
    """Place and lines of both sides.

    Raises:
        DataError: it is no zip archive, or has more or fewer than one file for a suffix.
    """
    names = archive_names(path)
    src, tgt = (_member(path, names, suffix) for suffix in (src_suffix, tgt_suffix))
    return _side(path, src), _side(path, tgt)


def archive_names(path: Path) -> list[str]:
    """The names of the files in an archive.

    Raises:
        DataError: it is no zip archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [info.filename for info in archive.infolist() if not info.is_dir()]
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(
            f"{path}: cannot be read as a zip archive ({one_line(error)}); get the file again"
        ) from None


def _member(path: Path, names: list[str], suffix: str) -> str:
    """The one file whose name ends in the suffix."""
    ending = f".{suffix.removeprefix('.')}"
    fitting = [name for name in names if name.endswith(ending)]
    if len(fitting) != 1:
        found = ", ".join(fitting) or "none"
        raise DataError(
            f"{path}: one file has to end in {ending}, and {len(fitting)} do ({found}); the "
            f"archive holds {', '.join(names) or 'nothing'}; correct src_suffix or tgt_suffix, "
            "which may be longer than a language"
        )
    return fitting[0]


def _side(path: Path, name: str) -> tuple[str, Iterator[str]]:
    place = f"{path}: {name}"
    return place, lines(_chunks(path, name), place)


def _chunks(path: Path, name: str) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
    except (
        *(OSError, EOFError, zipfile.BadZipFile, zlib.error),
        *(RuntimeError, NotImplementedError),  # a password, a way of compression
    ) as error:
        raise DataError(
            f"{path}: {name} cannot be read to its end ({one_line(error)}); get the archive again"
        ) from None
