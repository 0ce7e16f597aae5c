"""Systems in processes of their own, each of which works only when it is its turn.

What is compared on a machine that is never quite still must be measured side by side, and what
sets the threads and the allocator of a whole process cannot share one.
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
    """What a process holds of the race."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def wait(self) -> None:
        """Say that all before is done, and wait for the next turn.

        Raises:
            Over: there is none.
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
        """Wait until all processes stand at the start."""
        for connection in self.connections:
            if not connection.poll(LONGEST_START):
                raise SystemExit(f"{self.name}: not ready after {LONGEST_START:.0f} seconds")
            self._answer(connection)

    def take(self) -> float:
        """Let all processes work until they wait for the turn after this. -> seconds."""
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
