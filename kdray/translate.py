"""`python -m kdray.translate STUDENT`: translate lines with a student or a teacher."""

import math
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from kdray.command import (
    InStorage,
    OfStudy,
    Overrides,
    StudentName,
    check_overrides,
    run,
    studied,
)
from kdray.errors import InputError, StageFailed
from kdray.progress import LINE_SECONDS, Display

if TYPE_CHECKING:
    from kdray.artifacts import Fetch
    from kdray.teacher.engine import Engine, Teacher
    from kdray.translation.stream import Written


@dataclass
class _Search:
    """How to search, where nothing else is asked for."""

    beam: int = 5
    length_penalty: float = 1.0


def translate(
    student: StudentName,
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Files of lines, also .gz and .zst. Default: standard input."),
    ] = None,
    config: OfStudy = None,
    overrides: Overrides = [],  # noqa: B006
    storage: InStorage = "runs",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write, also .gz. Default: standard output."),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", help="text, tsv or jsonl. Default: what the files' names tell, or text."
        ),
    ] = None,
    column: Annotated[
        int | None, typer.Option(min=0, help="Column of a TSV with the source, from 0. Default: 0.")
    ] = None,
    field_: Annotated[
        str | None,
        typer.Option("--field", help="Field of a JSON object with the source. Default: src."),
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Width of the beam. Default: the study's, or 5."),
    ] = None,
    n_best: Annotated[
        int, typer.Option(min=1, max=64, help="Translations of each line, the best first.")
    ] = 1,
    scores: Annotated[
        bool, typer.Option("--scores", help="Write the log-probability of each translation, too.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Default: as many as there are processors.")
    ] = None,
) -> None:
    """Translate lines in their order; as many come out as came in.

    An empty line stays empty. A line that is too long for the model is translated sentence by
    sentence; where a single sentence is too long, the translation is empty, the command goes on,
    says so, and ends with exit code 1.
    """
    paths = files or []
    check_overrides(config, overrides)
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such file; correct its name")
    with ExitStack() as stack:
        display = Display(Console(stderr=True))
        teacher, fetch, search = _model(stack, student, config, overrides, storage)
        width = beam or max(search.beam, n_best)
        if n_best > width:
            raise InputError(f"--n-best {n_best}: a beam of {width} finds {width}; widen --beam")
        from kdray.model.generate import SearchOptions
        from kdray.translation.files import read_lines, written_to
        from kdray.translation.formats import Options, choose_format
        from kdray.translation.stream import translate_lines

        options = Options(num_hyps=n_best, scores=scores)
        form = choose_format(format_, paths, options, column=column, field=field_)
        engine = _opened(stack, teacher, fetch, threads or len(os.sched_getaffinity(0)))
        how = SearchOptions(width, n_best, search.length_penalty)
        told = _Told(display)
        out = stack.enter_context(written_to(output))
        try:
            for written in translate_lines(engine, read_lines(paths), form, how):
                out.writelines(f"{line}\n".encode() for line in written.lines)
                out.flush()
                told.add(written)
        except BrokenPipeError:  # whoever reads has enough, as `head` has
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(128 + 13) from None  # as if SIGPIPE had ended it
        told.end()
    told.check()


def _opened(stack: ExitStack, teacher: "Teacher", fetch: "Fetch", threads: int) -> "Engine":
    """A model that is ready to translate with so many threads."""
    import torch

    torch.set_num_threads(threads)
    work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    teacher.prepare(work, fetch, device="cpu")
    return teacher.open(fetch, device="cpu", threads=threads, work=work)


def _model(
    stack: ExitStack, name: str, config: Path | None, overrides: list[str], storage: str
) -> "tuple[Teacher, Fetch, _Search]":
    """The model that is meant, what gives its files, and how its study searches."""
    if config is None:
        from kdray.runner.named_model import named_model

        named = named_model(name, storage)
        return named.teacher, named.fetch, _Search()
    study = stack.enter_context(
        studied(config, overrides, "translate", dry_run=False, only_looks=True, to_stderr=True)
    )
    from kdray.runner.named_model import model_of_study

    evaluation = study.recipe.evaluation
    search = _Search(evaluation.main_beam, evaluation.length_penalty)
    named = model_of_study(study, name)
    return named.teacher, named.fetch, search


@dataclass
class _Told:
    """What is said on standard error while lines are translated, and after it."""

    display: Display
    began: float = field(default_factory=time.monotonic)
    said: float = -math.inf
    count: int = 0
    split: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    unfinished: int = 0

    def add(self, written: "Written") -> None:
        """Count what was written, and say how far it is now and then."""
        self.count += written.count
        self.split += written.split
        self.unread += written.unread
        self.unfinished += written.unfinished
        now = time.monotonic()
        if now - max(self.said, self.began) >= LINE_SECONDS:
            self.said = now
            self.display.note(self._rate())

    def end(self) -> None:
        """Say what was done."""
        self.display.note(self._rate())
        if self.split:
            self.display.note(
                f"{len(self.split)} lines are too long for the model and were translated sentence "
                f"by sentence, the first is {self.split[0]}"
            )
        if self.unfinished:
            self.display.note(
                f"{self.unfinished} translations were cut where they became longer than the model "
                "can write, or much longer than their sources"
            )

    def check(self) -> None:
        """End with an error if lines are not translated.

        Raises:
            StageFailed: some are not.
        """
        if self.unread:
            raise StageFailed(
                f"{len(self.unread)} of {self.count} lines have a sentence that is too long for "
                f"the model and are not translated, the first is {self.unread[0]}; all others "
                "are. Cut the sentence, or take a model with a larger max_length"
            )

    def _rate(self) -> str:
        seconds = time.monotonic() - self.began
        return f"{self.count} lines, {self.count / max(seconds, 1e-9):.1f} lines/s"


if __name__ == "__main__":
    run(translate)
