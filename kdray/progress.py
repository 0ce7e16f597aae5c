"""Shows the progress of a command: stages, rates, time left. In a file it prints plain lines."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

LINE_SECONDS = 15.0  # between two plain lines of one bar


class Bars(Protocol):
    """Progress bars, each with a name."""

    def move(self, name: str, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` steps are done; a new name makes a new bar."""


class Display:
    """Progress on one console."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()

    def stage(self, title: str, detail: str = "") -> None:
        """Announce a stage."""
        self.console.print(f"[bold]{title}[/bold]  {detail}".rstrip(), highlight=False)

    def note(self, text: str) -> None:
        """Print a line below the stage."""
        self.console.print(f"  {text}", highlight=False, markup=False)

    @contextmanager
    def bars(self) -> Iterator[Bars]:
        """A group of bars that move together."""
        if not self.console.is_terminal:
            yield _Lines(self.console)
            return
        progress = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=False,
        )
        with progress:
            yield _LiveBars(progress)


class _LiveBars:
    """Bars that are drawn in place, on a terminal."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}

    def move(self, name: str, done: int, total: int, note: str = "") -> None:
        """See `Bars`. The rate counts from where a bar began."""
        if name not in self.tasks:
            # Steps of an earlier run must not count in the rate.
            self.tasks[name] = self.progress.add_task(name, total=total, completed=done, note=note)
        self.progress.update(self.tasks[name], completed=done, total=total, note=note)


class _Lines:
    """Plain lines, for a file: one when a bar is new, is full, or has moved for `LINE_SECONDS`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.started: dict[str, tuple[float, int]] = {}
        self.shown: dict[str, tuple[float, int, int]] = {}

    def move(self, name: str, done: int, total: int, note: str = "") -> None:
        """See `Bars`. The rate counts from where a bar began, or was last set back."""
        now = time.monotonic()
        if done < self.started.get(name, (now, done))[1]:
            del self.started[name]  # a resumed run goes on from an earlier checkpoint
        start, first = self.started.setdefault(name, (now, done))
        shown_at, shown_done, shown_total = self.shown.get(name, (0.0, -1, total))
        # A run that ends early lowers its total, and is then finished without another step.
        finished = done == total and (shown_done, shown_total) != (done, total)
        if not finished and (now - shown_at < LINE_SECONDS or done == shown_done):
            return
        self.shown[name] = (now, done, total)
        rate = (done - first) / (now - start) if now > start else 0.0
        left = f", {_clock((total - done) / rate)} left" if rate and not finished else ""
        speed = f", {rate:.1f}/s" if rate else ""
        self.console.print(
            f"  {name}: {done}/{total}{speed}{left}  {note}".rstrip(), highlight=False, markup=False
        )


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Steps per second."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
