"""A teacher that translates word by word: lines in, lines out, no pieces and no distributions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kdray.artifacts import Fetch
from kdray.model.generate import SearchOptions
from kdray.teacher.engine import Teacher, Translation
from kdray_toys.teacher_config import DictionaryConfig


@dataclass(frozen=True)
class DictionaryTeacher(Teacher):
    """A dictionary as a job carries it."""

    config: DictionaryConfig
    folder: Path = field(default_factory=Path.cwd)  # of the command: workers run in other folders

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of the dictionary."""
        return (self.config.checksum(),)

    def open(
        self, fetch: Fetch, *, device: str, threads: int, work: Path | None = None
    ) -> "Dictionary":
        """Read the dictionary."""
        lines = (self.folder / self.config.path).read_text(encoding="utf-8").splitlines()
        return Dictionary(dict(line.split("\t") for line in lines), self.config.max_words)


@dataclass(frozen=True)
class Dictionary:
    """A dictionary that is ready to translate."""

    words: Mapping[str, str]
    positions: int
    vocabulary: int | None = None

    def translate(
        self, src: Sequence[str], options: SearchOptions, refs: Sequence[str] | None = None
    ) -> list[list[Translation]]:
        """Replace each word; one that is not in the dictionary stays."""
        return [self._translate(line.split()) for line in src]

    def _translate(self, words: Sequence[str]) -> list[Translation]:
        if len(words) > self.positions:
            return []
        text = " ".join(self.words.get(word, word) for word in words)
        return [Translation(text, score=0.0, finished=True)]
