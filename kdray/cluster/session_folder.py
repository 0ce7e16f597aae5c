"""The folder of a local session in Ray's temporary folder, about 1 MB of logs, goes with it.

Ray leaves it for ever. That of a session that failed stays until the next one begins: its logs may
say why.
"""

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kdray.storage.lease import Claim, is_held, leave_dead

LEASE = "kdray.lease"  # tells our sessions from those of others, and those that go on


@contextmanager
def removed_at_the_end(folder: Path | None) -> Iterator[None]:
    """Own a session's folder for the length of a `with` block, and remove what dead ones left.

    Without a folder, or where it cannot be written, nothing is done.
    """
    if folder is None:
        yield
        return
    with contextlib.suppress(OSError):
        for left in folder.parent.glob(f"session_*/{LEASE}"):
            if not is_held(left):
                _remove(left.parent)
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            if (lease := Claim(folder / LEASE).take()) is not None:
                held.callback(lease.close)
        yield
        _remove(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    latest = folder.parent / "session_latest"
    with contextlib.suppress(OSError):
        if folder.exists():  # a process of Ray was still writing: the next session tries again
            leave_dead(folder / LEASE)
        if latest.is_symlink() and not latest.exists():
            latest.unlink()
