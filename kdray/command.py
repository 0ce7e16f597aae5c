"""What all command lines share: options, the experiment they load, errors and exit codes.

Verbs import torch and Ray late, once the configuration is read: help and a misspelt key should not
wait for them.
"""

import gc
import io
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from kdray.config.load import load_experiment
from kdray.errors import KdrayError, redact
from kdray.progress import Display

if TYPE_CHECKING:
    from kdray.runner.study import Study

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
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would run and what is cached; run nothing.")
]


def run(command: Callable[..., None]) -> None:
    """Run one command as a program of its own."""
    with exit_codes():
        typer.run(command)


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
        Console(stderr=True).print(
            f"[bold red]error[/]: {_escape(redact(str(error)))}", highlight=False
        )
        sys.exit(error.exit_code)
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
    *,
    dry_run: bool,
    all_signals: bool = False,
    tracked: bool = True,
) -> "Iterator[Study]":
    """The study that a configuration describes; a dry run shows it and ends the command."""
    experiment = load_experiment(config, overrides)
    from kdray.runner.study import open_study

    display = Display()
    tracked = tracked and not dry_run
    with open_study(experiment, display, all_signals=all_signals, tracked=tracked) as study:
        if dry_run:
            show_plan(study)
            raise typer.Exit
        yield study


def show_plan(study: "Study") -> None:
    """Print every artifact, whether it is there, and why not."""
    from kdray.plan.step import shown_once

    names = Column("what", overflow="fold")  # names of students differ at their ends
    table = Table("stage", names, "fingerprint", "state", title=study.experiment.name)
    for step in shown_once(study.plan.steps):
        is_made = study.is_made(step.key)
        why = [] if is_made else study.store.explain_miss(step.key)
        state = "cached" if is_made else "would run"
        detail = f" ({'; '.join(why[:2])})" if why else ""
        what = step.detail or step.name
        table.add_row(step.stage, what, step.key.fingerprint, state + detail)
    study.display.console.print(table)


class _Discreet(logging.Formatter):
    """Leaves out credentials, those in tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        return redact(super().format(record))


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
