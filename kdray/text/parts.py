"""The parts of a source of pairs: what is read from its start to its end, in this order."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kdray.config.sources import (
    HuggingFacePairs,
    JsonlPairs,
    Mixture,
    PairSource,
    SacrebleuPairs,
    TextPairs,
    TsvPairs,
)
from kdray.errors import DataError
from kdray.text.hub import SRC, TGT, copied_data_set
from kdray.text.places import files_by_stars, files_of
from kdray.text.sacrebleu_sets import sacrebleu_files

COPIED = JsonlPairs(format="jsonl", path="copied", src_field=SRC, tgt_field=TGT)


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a source, or one of each side.

    Attributes:
        source: how it is read.
        files: source side and target side, or the one file.
        name: of the source in a mixture, else empty.
        most: how many pairs of its source are read, with those of the parts before it.
    """

    source: PairSource
    files: tuple[Path, ...]
    name: str = ""
    most: int | None = None

    @property
    def place(self) -> str:
        """What messages call it."""
        return " and ".join(map(str, self.files))

    @property
    def first_line(self) -> int:
        """The line of the first pair, counted from 1: it is 2 below a header."""
        return 2 if isinstance(self.source, TsvPairs) and self.source.header else 1

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(path.stat().st_size for path in self.files)


def parts_of(source: PairSource | Mixture, folder: str | Path) -> tuple[Part, ...]:
    """All parts, those of a pattern in the order of their names.

    Raises:
        DataError: a file is missing, lies outside `folder`, cannot be copied from where it is, or
            has no partner on the other side.
    """
    if isinstance(source, Mixture):
        return tuple(
            Part(part.source, part.files, name, source.max_pairs.get(name))
            for name, inner in source.sources.items()
            for part in parts_of(inner, folder)
        )
    match source:
        case TextPairs():
            return tuple(Part(source, files) for files in _partners(source, folder))
        case SacrebleuPairs():
            sides = TextPairs(src="src", tgt="tgt")
            return (Part(sides, sacrebleu_files(source)),)
        case HuggingFacePairs():
            return (Part(COPIED, (copied_data_set(source, folder),)),)
        case _:
            return tuple(Part(source, (path,)) for path in files_of(folder, source.path))


def _partners(source: TextPairs, folder: str | Path) -> Iterator[tuple[Path, Path]]:
    """Files of both sides in whose names the stars stand for the same."""
    src, tgt = files_by_stars(folder, source.src), files_by_stars(folder, source.tgt)
    for files, others, name in ((src, tgt, source.tgt), (tgt, src, source.src)):
        if alone := [path for stars, path in files.items() if stars not in others]:
            raise DataError(
                f"{alone[0]}: has no partner among the {len(others)} files of {name}, and is one "
                f"of {len(alone)} without; give each file its partner on the other side, in whose "
                "path the stars stand for the same"
            )
    return ((path, tgt[stars]) for stars, path in src.items())
