"""Runs systems in processes of their own, of which only one works at a time.

On a machine that also does other work, systems can be compared only if they are measured in turns.
They cannot share a process, because each sets the threads and the allocator of its whole process.
"""

import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

LONGEST_START = 300.0  # seconds, on a busy machine

Work = Callable[..., None]


class Over(Exception):
    """There is no next turn."""


class Turn:
    """A process's end of the connection to the race."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def wait(self) -> None:
        """Report that the turn is done, and wait for the next one.

        Raises:
            Over: there is no next turn.
        """
        self.connection.send(None)
        if not self.connection.recv():
            raise Over


class Racer:
    """The processes of one system; `work(turn, rank, *arguments)` is the body of each."""

    def __init__(self, name: str, work: Work, *, workers: int, arguments: tuple[Any, ...]) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self.connections, self.processes = [], []
        for rank in range(workers):
            mine, theirs = context.Pipe()
            process = context.Process(target=_body, args=(work, theirs, rank, arguments))
            process.daemon = True
            process.start()
            theirs.close()  # so that the end of the process is the end of the pipe
            self.connections.append(mine)
            self.processes.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def ready(self) -> None:
        """Wait until all processes are ready for their first turn."""
        for connection in self.connections:
            if not connection.poll(LONGEST_START):
                raise SystemExit(f"{self.name}: not ready after {LONGEST_START:.0f} seconds")
            self._answer(connection)

    def take(self) -> float:
        """Let all processes work for one turn. -> seconds."""
        started = time.perf_counter()
        for connection in self.connections:
            connection.send(True)
        for connection in self.connections:
            self._answer(connection)
        return time.perf_counter() - started

    def close(self) -> None:
        """End the processes."""
        for connection, process in zip(self.connections, self.processes, strict=True):
            if process.is_alive():
                connection.send(False)
            connection.close()
        for process in self.processes:
            process.join(timeout=10)
            process.kill()

    def _answer(self, connection: Connection) -> None:
        try:
            connection.recv()
        except EOFError:
            raise SystemExit(f"{self.name}: a process has ended; its error stands above") from None


def _body(work: Work, connection: Connection, rank: int, arguments: tuple[Any, ...]) -> None:
    with suppress(Over):
        work(Turn(connection), rank, *arguments)
