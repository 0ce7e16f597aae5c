"""Shows the progress of a command: stages, rates, time left. In a file it prints plain lines."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import timedelta
from typing import TypeVar

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

from kdray.errors import redact

LINE_SECONDS = 15.0  # between two plain lines of one bar
QUIET_SECONDS = 2.0  # what takes no longer is not worth a bar

Item = TypeVar("Item")


class Display:
    """Progress on one console."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()

    def stage(self, title: str, detail: str = "") -> None:
        """Announce a stage."""
        self.console.print(f"[bold]{title}[/bold]  {redact(detail)}".rstrip(), highlight=False)

    def line(self, text: str) -> None:
        """Print one line of a list, however long it is."""
        self.console.print(redact(text), highlight=False, markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a line below the stage."""
        self.console.print(f"  {redact(text)}", highlight=False, markup=False)

    @contextmanager
    def bars(self) -> "Iterator[Bars]":
        """A group of bars that move together."""
        bars = Bars(self.console)
        with bars.progress if self.console.is_terminal else nullcontext():
            yield bars

    def followed(self, name: str, items: Sequence[Item]) -> Iterator[Item]:
        """The items one by one, with a bar as soon as they have taken a moment."""
        began, bars = time.monotonic(), None
        with ExitStack() as shown:
            for done, item in enumerate(items):
                if bars is None and time.monotonic() - began > QUIET_SECONDS:
                    bars = shown.enter_context(self.bars())
                if bars is not None:
                    bars.move(name, done, len(items))
                yield item
            if bars is not None:
                bars.move(name, len(items), len(items))


class Bars:
    """Progress bars, each with a name: drawn in place on a terminal, in a file told by lines.

    The rate counts from where a bar began, or was last set back.
    """

    def __init__(self, console: Console) -> None:
        self.progress = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            speed_estimate_period=math.inf,
        )
        self.tasks: dict[str, TaskID] = {}
        self.lines: dict[TaskID, tuple[float, object]] = {}  # when the last was printed, and what

    def move(self, name: str, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` steps are done; a new name makes a new bar."""
        if name not in self.tasks:
            # Steps of an earlier run must not count in the rate.
            self.tasks[name] = self.progress.add_task(name, total=total, completed=done, note=note)
        task = self.progress.tasks[self.tasks[name]]
        if done < task.completed:  # a resumed run goes on from an earlier checkpoint
            self.progress.reset(task.id)
        self.progress.update(task.id, completed=done, total=total, note=note)
        if not self.progress.console.is_terminal:
            self._print(task)

    def _print(self, task: Task) -> None:
        """Print a line for a bar that is new, has become full, or has moved for `LINE_SECONDS`."""
        now, state = time.monotonic(), (task.completed, task.total)
        printed_at, printed = self.lines.get(task.id, (-math.inf, None))
        if state == printed or not (task.finished or now - printed_at >= LINE_SECONDS):
            return
        self.lines[task.id] = now, state
        speed = f", {task.speed:.1f}/s" if task.speed else ""
        seconds = round(task.time_remaining or 0)
        left = f", {timedelta(seconds=seconds)} left" if seconds else ""
        line = f"  {task.description}: {task.completed:.0f}/{task.total:.0f}{speed}{left}"
        note = task.fields["note"]
        self.progress.console.print(f"{line}  {note}".rstrip(), highlight=False, markup=False)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Steps per second."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s")
