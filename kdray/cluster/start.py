"""Ray is brought up in a bounded time, or says in its own words why not.

Ray has no base class for what may go wrong, waits for ever for a cluster that does not answer or
wants another token, and tells the reason only on the standard error of its C++ part.
"""

import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import ray

_TOO_SLOW = "timed out during startup"
"""What Ray says of a node that needs more than 30 s, a number of its own that cannot be set."""
_LOGGED = re.compile(r"^\[[^]]*\] (?:\S+:\d+: )?")  # time, process and place in Ray's code


class NotStarted(Exception):
    """Ray did not come up; the message is what Ray says, on one line."""


def bring_up(seconds: float, *, left: float | None = None, **arguments: Any) -> Callable[[], None]:  # noqa: ANN401 (Ray's own)
    """Call `ray.init` with some arguments. -> what ends that session.

    A node for which Ray itself does not wait long enough is started again, in the seconds `left`.

    Raises:
        NotStarted: it failed, or took longer than `seconds`.
    """
    left = seconds if left is None else left
    began, started, over = time.monotonic(), Future[None](), threading.Event()

    def hold() -> None:
        """Start Ray, and stay: on Linux its processes end with the thread that started them."""
        try:
            ray.init(**arguments)
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(None)
        over.wait()

    def end() -> None:
        ray.shutdown()
        over.set()

    stderr = _Stderr()
    # Where it hangs, it cannot be interrupted: a daemon does not keep the process from its end.
    threading.Thread(target=hold, name="ray", daemon=True).start()
    try:
        started.exception(timeout=left)
    except TimeoutError:
        last = stderr.last_line()
        stderr.leave()
        raise NotStarted(f"no answer within {seconds:g} s" + (last and f": {last}")) from None
    except BaseException:  # Ctrl-C
        stderr.leave()
        raise
    stderr.restore()
    if (error := started.exception()) is not None:
        end()
        left -= time.monotonic() - began
        if _TOO_SLOW in str(error) and left > 0:
            return bring_up(seconds, left=left, **arguments)
        raise NotStarted(" ".join(str(error).split()) or type(error).__name__)
    return end


class _Stderr:
    """Standard error, diverted into a file while Ray starts."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 (it may outlive the call)
        self.terminal = os.dup(2)
        os.dup2(self.file.fileno(), 2)

    def last_line(self) -> str:
        """The last line that was written, without its time and its place in Ray's code."""
        self.file.seek(0)
        lines = self.file.read().decode(errors="replace").splitlines()
        told = (_LOGGED.sub("", line).strip() for line in reversed(lines))
        return next((line for line in told if line), "")

    def restore(self) -> None:
        """Let everything be written to the terminal again, first what was written meanwhile."""
        os.dup2(self.terminal, 2)
        self.file.seek(0)
        os.write(2, self.file.read())
        os.close(self.terminal)
        self.file.close()

    def leave(self) -> None:
        """Let only Python write there: Ray's C++ part repeats itself every second, for ever."""
        if sys.stderr is sys.__stderr__:
            sys.stderr = os.fdopen(self.terminal, "w", buffering=1, errors="backslashreplace")
        else:  # Python writes elsewhere: this is a part of a larger program
            os.dup2(self.terminal, 2)
