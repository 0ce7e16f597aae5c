"""Models that a server translates with: plain data, and in the process that answers, ready."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kdray.artifacts import Fetch
from kdray.errors import InputError
from kdray.model.ctranslate2 import FastTranslator
from kdray.model.generate import SearchOptions
from kdray.serving.gate import GateOfSources, gate_kind, gate_of
from kdray.teacher.engine import Engine, Teacher
from kdray.teacher.own import OwnEngine, OwnModels


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as it is handed to the server: plain data that can be pickled.

    Attributes:
        name: what a request calls it.
        src_lang: code of the language that it reads, as in `de`.
        tgt_lang: code of the language that it writes.
        teacher: the model itself.
        fetch: gives its files.
        work: the folder in which it was prepared.
        beam: width of its search.
        length_penalty: of its search.
        is_teacher: whether it is the teacher of a study.
    """

    name: str
    src_lang: str
    tgt_lang: str
    teacher: Teacher
    fetch: Fetch
    work: Path
    beam: int = 5
    length_penalty: float = 1.0
    is_teacher: bool = False

    @property
    def folder(self) -> Path | None:
        """Of a single kdray model; None of others."""
        if not (isinstance(self.teacher, OwnModels) and len(self.teacher.members) == 1):
            return None
        return self.fetch(self.teacher.members[0])

    def prepare(self) -> None:
        """Make once what every process that opens it shares.

        Raises:
            DataError: what it is made of is missing or damaged.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        self.teacher.prepare(self.work, self.fetch, device="cpu")

    def search(self, *, alternatives: int = 0) -> SearchOptions:
        """How it searches; with no more translations than its beam finds."""
        return SearchOptions(self.beam, min(1 + alternatives, self.beam), self.length_penalty)

    def described(self) -> dict[str, Any]:
        """What a user is told of it."""
        return {
            "name": self.name,
            "source": self.src_lang,
            "target": self.tgt_lang,
            "teacher": self.is_teacher,
            "parameters": self.teacher.num_params(self.fetch),
            "beam": self.beam,
            "gate": None if self.folder is None else gate_kind(self.folder),
        }


class OpenModel:
    """A model that is ready to translate.

    Args:
        model: what it is.
        threads: with which it translates.
    """

    def __init__(self, model: ServedModel, *, threads: int) -> None:
        self.model = model
        self.engine: Engine = model.teacher.open(
            model.fetch, device="cpu", threads=threads, work=model.work
        )
        self.described = model.described()

    @property
    def batches_at_once(self) -> bool:
        """Whether several batches can be translated side by side."""
        return isinstance(getattr(self.engine, "backend", None), FastTranslator)

    @cached_property
    def gate(self) -> GateOfSources | None:
        """Its gate, read when it is first asked for; None if it has none that reads sources."""
        folder = self.model.folder
        return None if folder is None else gate_of(folder)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text; where the model knows text alone, a fourth of its characters."""
        if isinstance(self.engine, OwnEngine):
            return [self.engine.tokenizer.src_length(text) for text in texts]
        return [len(text) // 4 + 1 for text in texts]


def check_names(models: Sequence[ServedModel]) -> None:
    """Every model has a name of its own.

    Raises:
        InputError: two have the same.
    """
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{name}: is given twice; name each model once")
