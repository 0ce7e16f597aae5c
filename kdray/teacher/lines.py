"""Teachers that are given lines of text and give back a line for each: a command, a function."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

from kdray.artifacts import Fetch, Key
from kdray.config.foreign_teachers import CommandTeacherConfig, FunctionTeacherConfig
from kdray.config.outside import failures, outside_kinds
from kdray.errors import ConfigError, InputError
from kdray.model.generate import SearchOptions
from kdray.teacher.engine import Teacher, Translation
from kdray.text.line_command import CommandBroken, check_program, run_lines

TRANSLATORS = "kdray.translators"
"""Entry points: functions from a list of texts, and options by name, to their translations."""


@dataclass(frozen=True, slots=True)
class LinesEngine:
    """Translates by something that is given texts; see `Engine`.

    place: in the recipe, for messages. An error of its own, which may be that of one text, is not
    changed into one of ours.
    """

    ask: Callable[[list[str], SearchOptions], Sequence[Any]]
    place: str
    positions: ClassVar[int | None] = None
    vocabulary: ClassVar[int | None] = None

    def translate(
        self, src: Sequence[str], options: SearchOptions, refs: Sequence[str] | None = None
    ) -> list[list[Translation]]:
        """See `Engine`. What is no translation, and what is one too many, is refused.

        Raises:
            InputError: there are not as many answers as texts, or one is no translation.
        """
        if not src:
            return []
        answers = self.ask([" ".join(line.splitlines()) for line in src], options)
        return [translations(each, line)[: options.num_hyps] for line, each in enumerate(answers)]


@dataclass(frozen=True, slots=True)
class CommandTeacher(Teacher):
    """A command as a job carries it. It runs in the folder that kdray was called in."""

    config: CommandTeacherConfig
    folder: Path = field(default_factory=Path.cwd)

    def check(self) -> None:
        """Look for the program.

        Raises:
            ConfigError: it is not there, or it cannot be executed.
        """
        try:
            check_program(self.config, self.folder)
        except ConfigError as error:
            raise ConfigError(f"recipe.teacher: {error}") from None

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of the configuration, but not of how long it may take."""
        recipe = self.config.model_dump(mode="json", exclude={"timeout_seconds"})
        return (Key("command_teacher", 1, recipe).fingerprint,)

    def open(
        self, fetch: Fetch, *, device: str, threads: int, work: Path | None = None
    ) -> LinesEngine:
        """Nothing is started yet: the command runs for each call, with all lines of it."""
        return LinesEngine(self._ask, self._place)

    @property
    def _place(self) -> str:
        return f"recipe.teacher (command) {self.config.command[0]}"

    def _ask(self, lines: list[str], options: SearchOptions) -> list[Any]:
        read = _json if self.config.output == "json" else list[Any]
        variables = {f"KDRAY_{name.upper()}": str(value) for name, value in asdict(options).items()}
        try:
            return run_lines(
                self.config,
                lines,
                what="sources",
                read=read,
                folder=self.folder,
                variables=variables,
            )
        except CommandBroken as error:
            if error.exited:
                raise
            raise InputError(f"{self._place}: {error}") from None


@dataclass(frozen=True, slots=True)
class FunctionTeacher(Teacher):
    """A function of an installed package as a job carries it."""

    config: FunctionTeacherConfig

    def check(self) -> None:
        """Look for the function.

        Raises:
            ConfigError: no installed package has it, or it cannot be loaded.
        """
        functions, name = outside_kinds(TRANSLATORS), self.config.function
        if not callable(functions.get(name)):
            problem = (
                f"recipe.teacher.function {name}: no installed package names a function so under "
                f"the entry points {TRANSLATORS}; there are {', '.join(functions) or 'none'}"
            )
            raise ConfigError("\n".join((problem, *failures)))

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of the configuration."""
        return (Key("function_teacher", 1, self.config.model_dump(mode="json")).fingerprint,)

    def open(
        self, fetch: Fetch, *, device: str, threads: int, work: Path | None = None
    ) -> LinesEngine:
        """Find the function in this process.

        Raises:
            ConfigError: it is not there.
        """
        self.check()
        return LinesEngine(self._ask, self._place)

    @property
    def _place(self) -> str:
        return f"recipe.teacher.function {self.config.function}"

    def _ask(self, lines: list[str], options: SearchOptions) -> list[Any]:
        function = outside_kinds(TRANSLATORS)[self.config.function]
        answers = list(function(lines, **self.config.options))
        if len(answers) != len(lines):
            raise InputError(
                f"{self._place}: gave {len(answers)} translations for {len(lines)} sources"
            )
        return answers


def translations(answer: object, line: int) -> list[Translation]:
    """What was answered to a text: a text, or a list of texts or of pairs of a text and a score.

    Raises:
        InputError: it is something else.
    """
    several = [answer] if isinstance(answer, str) else answer
    if isinstance(several, list | tuple):
        made = [_translation(each) for each in several]
        if all(each is not None for each in made):
            return [each for each in made if each is not None]
    raise InputError(
        f"recipe.teacher: the answer to source {line + 1} of a shard is {str(answer)[:100]!r}; it "
        "must be a text, or a list of texts or of pairs of a text and a score"
    )


def _translation(answer: object) -> Translation | None:
    match answer:
        case str():
            return Translation(answer, 0.0, finished=True)
        case [str() as text, Real() as score]:
            return Translation(text, float(score), finished=True)
    return None


def _json(lines: list[str]) -> list[Any]:
    answers = []
    for place, line in enumerate(lines, start=1):
        try:
            answers.append(json.loads(line))
        except ValueError:
            raise CommandBroken(
                f"it printed {line[:100]!r} in line {place}, which is no JSON"
            ) from None
    return answers
