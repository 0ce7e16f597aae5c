"""The parts of a source of pairs: what is read from its start to its end, in this order."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
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
from kdray.text.places import files_of, stars
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
    sides = files_of(folder, source.src), files_of(folder, source.tgt)
    for src, tgt in zip_longest(*sides):
        if src is None or tgt is None or stars(source.src, src) != stars(source.tgt, tgt):
            there = [f"{len(files)} files of {name}" for files, name in
                     zip(sides, (source.src, source.tgt), strict=True)]  # fmt: skip
            raise DataError(
                f"{folder}: {' and '.join(there)} are no partners, name by name: {src or 'none'} "
                f"stands beside {tgt or 'none'}; give each file its partner on the other side"
            )
        yield src, tgt
