"""What all command lines share: options, the experiment they load, errors and exit codes.

Verbs import torch and Ray late, once the configuration is read: help and a misspelt key should not
wait for them.
"""

import atexit
import gc
import io
import logging
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from kdray.config.load import load_experiment, naming
from kdray.errors import InputError, KdrayError, StageFailed, redact
from kdray.limits import Limits, limited, size_of
from kdray.progress import Display
from kdray.storage.disk import disk_failure
from kdray.storage.location import remote_uri

if TYPE_CHECKING:
    from kdray.runner.study import Study

NO_LIMITS = Limits()

Config = Annotated[
    Path, typer.Argument(help="YAML file of the experiment; tune_configs/ holds examples.")
]
Overrides = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a value by its dotted key, as in recipe.students.seeds=[1,2]. Repeatable.",
    ),
]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Read all that the experiment has made, also what was verified before, first.",
    ),
]
MaxHours = Annotated[
    float | None,
    typer.Option(min=0, help="End in order after so many hours; the same command goes on later."),
]
MaxBytes = Annotated[
    str | None,
    typer.Option(help="End in order when the storage, a folder, holds so much, as 500M or 1.5T."),
]
StudentName = Annotated[
    str,
    typer.Argument(
        help="A model: its folder, its fingerprint in --storage, or with --config its name in "
        "the study, as in nano/hybrid/seed-1, champion or teacher."
    ),
]
OfStudy = Annotated[
    Path | None, typer.Option(help="YAML file of the study that STUDENT is a name in.")
]
InStorage = Annotated[
    str, typer.Option(help="Where STUDENT's fingerprint is looked for without --config.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would run and what is cached; run nothing.")
]


def run(command: Callable[..., None]) -> None:
    """Run one command as a program of its own."""
    with program():
        typer.run(command)


@contextmanager
def program() -> Iterator[None]:
    """What is run here is a process of its own, which has exit codes.

    One that ends early may leave threads in Ray's C++ part. Python's end would break them off
    there, which crashes: the process ends without it, once what was registered for its end has run.
    """
    try:
        with exit_codes():
            yield
        return
    except SystemExit as ended:
        if not isinstance(ended.code, int) or not ended.code:
            raise
        code = ended.code
    except Exception as fault:
        sys.excepthook(type(fault), fault, fault.__traceback__)
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more, or it is closed
            stream.flush()
    os._exit(code)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Known errors are one message on standard error and their exit code, without a traceback.

    Ctrl-C and SIGTERM, which `ray job stop` and batch systems send, end the command in order. What
    is printed holds no credentials, and no character that the terminal lacks.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    logged = logging.StreamHandler()
    logged.setFormatter(_Discreet("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[logged])
    stopped_by: list[int] = []

    def stop(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends the command at once
        stopped_by.append(number)
        raise KeyboardInterrupt  # the one exception that Ray lets through

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KdrayError as error:
        _tell(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        if (message := disk_failure(error)) is None:
            raise
        _tell(message)
        sys.exit(StageFailed.exit_code)
    except (KeyboardInterrupt, SystemExit):  # Typer makes one of the other
        if not stopped_by:
            raise
        Console(stderr=True).print("stopped; the same command continues from here")
        sys.exit(128 + stopped_by[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        gc.freeze()  # or Python's end goes through all that torch, Ray and MLflow made: a second


@contextmanager
def studied(
    config: Path,
    overrides: list[str],
    verb: str,
    *,
    dry_run: bool,
    verify: bool = False,
    only_looks: bool = False,
    to_stderr: bool = False,
    limits: Limits = NO_LIMITS,
) -> "Iterator[Study]":
    """The study that a configuration describes; a dry run shows what a verb makes and ends.

    Progress goes to standard output, or to standard error. What only looks, as a dry run does,
    writes nothing into the storage and tells no tracker.

    Raises:
        InputError: bytes are limited, and the storage is no folder.
    """
    experiment = load_experiment(config, overrides)
    if limits.size is not None and (uri := remote_uri(experiment.execution.storage)) is not None:
        raise InputError(
            f"--max-bytes: the storage {redact(uri)} is no folder, and how much it holds is not "
            "looked at; leave the option out, and give the bucket a quota where its service has one"
        )
    from kdray.runner.study import open_study

    looks, decodes = only_looks or dry_run, verb == "decode"  # also what no method reads
    display = Display(Console(stderr=to_stderr))
    opening = open_study(
        experiment,
        display,
        all_signals=decodes,
        searches=verb == "tune",
        only_looks=looks,
    )
    with ExitStack() as opened:
        with naming(config):
            study = opened.enter_context(opening)
            if dry_run:
                check_verb(study, verb)
        if verify:
            study.verify()
        if dry_run:
            show_plan(study, verb)
            raise typer.Exit
        with limited(limits, study.store.root):
            yield study


def check_overrides(config: Path | None, overrides: list[str]) -> None:
    """Refuse overrides of a configuration that is not named.

    Raises:
        InputError: there are some.
    """
    if config is None and overrides:
        raise InputError("--set changes a configuration; name one with --config")


def limits_of(hours: float | None, size: str | None) -> Limits:
    """The limits that options name.

    Raises:
        InputError: a size is none, or hours are no number.
    """
    if hours is not None and not math.isfinite(hours):
        raise InputError(f"--max-hours {hours}: write a number of hours, as 1.5")
    try:
        return Limits(hours, None if size is None else size_of(size))
    except ValueError as error:
        raise InputError(f"--max-bytes {error}") from None


def check_verb(study: "Study", verb: str) -> None:
    """Refuse what a verb cannot do, as far as it is known before anything is made.

    Raises:
        ConfigError: a scorer's program is not there, or the search cannot be made.
    """
    from kdray.runner.study import check_scorers

    if verb != "report":
        check_scorers(study.plan, study.store)
    if verb == "tune":
        from kdray.runner.search_space import check_search, search_notes

        for note in search_notes(study, check_search(study)):
            study.display.note(note)


def show_plan(study: "Study", verb: str) -> None:
    """Print every artifact that a verb makes, whether it is there, and why not."""
    from kdray.pipeline import steps_of
    from kdray.plan.step import STUDENT, shown_once, unique, wanted

    steps = steps_of(study, verb)
    looked = study.display.followed("artifacts", list(unique(steps)))
    made = {step.key.fingerprint for step in looked if study.is_made(step.key)}
    names = wanted(steps, lambda key: key.fingerprint in made)
    records = cache(study.store.records)
    width = max(len(step.stage) for step in steps)
    study.display.stage(study.experiment.name)
    for step in shown_once(steps):
        fingerprint, state, why = step.key.fingerprint, "not needed", ""
        if fingerprint in made:
            state = "cached"
        elif fingerprint in names:
            state = "would run"
            changes = study.store.explain_miss(step.key, records(step.key.stage))
            why = f"  ({'; '.join(changes[:2])})" if changes else ""
        what = step.detail or step.name
        study.display.line(f"{step.stage:{width}}  {fingerprint}  {state:10}  {what}{why}")
    for line in study.plan.notes() if any(step.stage == STUDENT for step in steps) else ():
        study.display.note(line)


class _Discreet(logging.Formatter):
    """Leaves out credentials, those in tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        return redact(super().format(record))


def _tell(error: str) -> None:
    said = escape(redact(error))
    Console(stderr=True).print(f"[bold red]error[/]: {said}", highlight=False)
