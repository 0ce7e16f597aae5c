"""Gives a script the environment variables of a training process."""

import os
import sys

from kdray.fit.machine import ENVIRONMENT


def restart_with_environment() -> None:
    """Restart the script with the environment of `kdray.fit.machine`, unless it has that already.

    The allocator reads its settings only once, before Python starts.
    """
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        again = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, again, {**os.environ, **ENVIRONMENT})
