"""The environment of a training process, for a script that nobody started with it."""

import os
import sys

from kdray.fit.machine import ENVIRONMENT


def restart_with_environment() -> None:
    """Start the script anew if its environment is not that of `kdray.fit.machine`.

    The allocator reads its settings once, before Python starts.
    """
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        again = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, again, {**os.environ, **ENVIRONMENT})
