"""What a teacher is: plain data in a job, and in the process that works with it an engine.

kdray's own models are one kind of teacher (`teacher/own`); other packages can bring theirs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from operator import attrgetter
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from kdray.artifacts import Fetch, Source
from kdray.errors import InputError
from kdray.methods.online import OnlineTeacher
from kdray.model.generate import SearchOptions


@dataclass(frozen=True, slots=True)
class Translation:
    """One translation of a source.

    score: the sum of its tokens' log-probabilities, not normalised. finished: whether it ended
    before the length limit. ids: its pieces in the teacher's own vocabulary, with `</s>` at the end
    if it is finished; None from a teacher that only knows text. num_pieces: how many pieces it has,
    from a teacher that counts them and has no ids; how fast it is, and so how wide its batches may
    be, is told by them.
    """

    text: str
    score: float
    finished: bool
    ids: Sequence[int] | None = None
    num_pieces: int = 0


@dataclass(frozen=True, slots=True)
class Forced:
    """How well the next token of references is predicted, when all before it are given.

    loss: the sum of −log p over all tokens, in nats. correct: how many of them are the likeliest.
    tokens: how many there are, each `</s>` among them.
    """

    loss: float
    correct: int
    tokens: int


class Engine(Protocol):
    """A teacher that is ready to translate, in one process."""

    @property
    def positions(self) -> int | None:
        """The longest source that it reads, in its own pieces; None if there is no limit."""

    @property
    def vocabulary(self) -> int | None:
        """Number of its target pieces; None if it only knows text."""

    def translate(
        self, src: Sequence[str], options: SearchOptions, refs: Sequence[str] | None = None
    ) -> list[list[Translation]]:
        """The best `num_hyps` translations of each source, best first.

        A source that is too long for it has none. `refs` are the references of training pairs, for
        teachers whose members weigh by them.
        """


def translate(
    engine: Engine,
    src: Sequence[str],
    options: SearchOptions,
    refs: Sequence[str] | None = None,
) -> list[list[Translation]]:
    """What an engine translates, which has an entry for each source; see `Engine`.

    Raises:
        InputError: as in `answered`.
    """
    made = answered(engine, src, lambda: engine.translate(src, options, refs))
    return [best[: options.num_hyps] for best in made]


def answered(
    engine: Engine, src: Sequence[str], ask: Callable[[], object]
) -> list[list[Translation]]:
    """What an engine answers to sources, which may be that of another package.

    Raises:
        InputError: it ends the program, answers more or fewer sources, so nobody knows which answer
            belongs to which, or an answer is no list of translations.
    """
    who = f"recipe.teacher: {type(engine).__name__}"
    try:
        answers = ask()
    except SystemExit as error:
        raise InputError(
            f"{who} ended the program (SystemExit: {error}) where it was asked to translate; let "
            "it raise an error instead"
        ) from error
    if not isinstance(answers, list | tuple):
        raise InputError(f"{who} gave {answers!r:.100}; it must give a list with an answer each")
    if len(answers) != len(src):
        raise InputError(
            f"{who} gave translations of {len(answers)} sources where it was given {len(src)}; a "
            "teacher answers each source, in its order"
        )
    for line, answer in zip(src, answers, strict=True):
        if not (isinstance(answer, list | tuple) and all(map(_is_whole, answer))):
            raise InputError(
                f"{who} gave {answer!r:.200} for the source {line!r:.200}; it must give a list of "
                "Translation, each with a text, a number as its score, and whether it is finished"
            )
    return [list(answer) for answer in answers]


def _is_whole(answer: object) -> bool:
    if not isinstance(answer, Translation):
        return False
    text, score, finished = attrgetter("text", "score", "finished")(answer)  # whatever they are
    is_number = isinstance(score, Real)
    return isinstance(text, str) and is_number and isinstance(finished, bool | np.bool_)


@runtime_checkable
class PieceEngine(Engine, Protocol):
    """An engine that knows its own pieces, and not text alone. Its members weigh equally here."""

    def go_on(
        self, src: Sequence[str], prefixes: Sequence[str], options: SearchOptions
    ) -> list[list[Translation]]:
        """As `translate`, but what follows a given text; the length of that counts in the search.

        A source or a prefix that is too long for it has no translation.
        """

    def sample(
        self, src: Sequence[str], *, seed: int, temperature: float
    ) -> list[list[Translation]]:
        """A translation of each source that is drawn from its distribution.

        A sentence in the same line gets the same numbers, whatever the others are.
        """

    def force(self, src: Sequence[str], refs: Sequence[str]) -> Forced:
        """Read all references.

        Raises:
            DataError: a source or a reference is too long for it.
        """


@runtime_checkable
class DrawingEngine(PieceEngine, Protocol):
    """An engine that draws as it is told; what a teacher with the mode `sampling` opens."""

    def draw(
        self,
        src: Sequence[str],
        *,
        seeds: Sequence[Sequence[int]],
        options: SearchOptions,
        prefix: str = "",
    ) -> list[list[Translation]]:
        """As many translations of each source as it has seeds, in their order.

        A seed alone decides its translation, whatever else is drawn. With a prefix, it is what
        follows that text. A source that is too long for it has none.
        """


@runtime_checkable
class Teacher(Protocol):
    """A teacher as a job carries it: plain data that can be pickled.

    A class that has this one as its base needs `fingerprints` and `open`, if it only translates.
    """

    on_gpu: ClassVar[bool] = False
    """Whether it gains from a GPU."""

    has_pieces: ClassVar[bool] = False
    """Whether it reads the ids of a tokenizer and writes such ids, and not text alone."""

    modes: ClassVar[frozenset[str]] = frozenset()
    """What its engine can do beside a beam search, of `no_repeat_ngram`, `prefix`, `sampling`.

    The first is an option of `translate`, the second asks for `go_on`, the third for `draw`.
    """

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """What stands for it in the identity of all that it makes; one for each of its models."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """The artifacts and folders that it is made of; none that kdray knows of."""
        return ()

    @property
    def identity(self) -> Mapping[str, str]:
        """What stands for it among the inputs of what it makes."""
        return {"teacher": "+".join(self.fingerprints)}

    @property
    def by_perplexity(self) -> bool:
        """Whether its members weigh by the inverse of their perplexity on a pair's reference."""
        return False

    def num_params(self, fetch: Fetch) -> int | None:
        """How many parameters it has; None if it does not know."""
        return None

    def tokenizer_checksum(self, fetch: Fetch) -> str | None:
        """The checksum of the tokenizer whose ids it reads and writes; None if it has none of ours.

        Raises:
            DataError: what it is made of is missing or damaged.
        """
        return None

    def prepare(self, work: Path, fetch: Fetch, *, device: str) -> None:
        """Make in a folder, once, what the processes that open it share."""
        return

    def open(self, fetch: Fetch, *, device: str, threads: int, work: Path | None = None) -> Engine:
        """Make it ready to translate. `work` is the folder that was prepared, if one was.

        Raises:
            DataError: what it is made of is missing or damaged.
        """

    def reader(self, fetch: Fetch, *, device: str) -> OnlineTeacher | None:
        """Make it ready to give distributions; None if it only translates.

        Raises:
            DataError: what it is made of is missing or damaged.
        """
        return None
