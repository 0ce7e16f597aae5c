"""Who works on what next? A queue in a folder, which processes on several machines take from.

Each item is a number, and a file whose folder says where it stands: it waits, a taker has it in
hand, it is finished, or it has failed. It moves by a rename. So no two takers get the same item,
and what a taker had in hand when it was killed lies in the taker's folder. That folder moves by a
rename too when the taker is dismissed, and with it all that it may take and finish.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kdray.storage.whole import whole

WAITING, FINISHED, FAILED = "waiting", "finished", "failed"
DISMISSED = "dismissed-"  # before the name of a taker
HAS_TAKEN = "has-taken"  # in the folder of a taker that has taken an item


@dataclass(frozen=True, slots=True)
class Queue:
    """Items 0, 1, … that takers work on, each a process or several that act as one."""

    folder: Path

    @classmethod
    def new(cls, folder: Path, items: int) -> Self:
        """A queue in a new folder, in which all items wait."""
        for state in (WAITING, FINISHED, FAILED):
            (folder / state).mkdir(parents=True)
        queue = cls(folder)
        for item in range(items):
            queue._path(WAITING, item).touch()
        return queue

    def admit(self, taker: str) -> None:
        """Let a new taker take items."""
        (self.folder / taker).mkdir()

    def dismiss(self, taker: str) -> int | None:
        """Let it take nothing any more, even if it lives. -> what it had in hand, and still has."""
        gone = f"{DISMISSED}{taker}"
        (self.folder / taker).rename(self.folder / gone)
        return self.in_hand(gone)

    def take(self, taker: str) -> int | None:
        """What the taker has in hand, or else the first item that waits.

        None: nothing is left, or the taker was dismissed.
        """
        for item in self.waiting():
            if (held := self.in_hand(taker)) is not None:
                return held
            with contextlib.suppress(FileNotFoundError):  # another was faster; or it is dismissed
                self._path(WAITING, item).rename(self._path(taker, item))
                (self.folder / taker / HAS_TAKEN).touch()
        return self.in_hand(taker)

    def put_back(self, item: int) -> None:
        """Let what a dismissed taker had in hand wait again. It comes before those after it."""
        for path in self.folder.glob(f"{DISMISSED}*/{item:06d}"):
            path.rename(self._path(WAITING, item))

    def finish(self, taker: str, item: int) -> None:
        """Note that what the taker has in hand is finished."""
        self._path(taker, item).rename(self._path(FINISHED, item))

    def fail_own(self, taker: str, item: int, reason: str) -> None:
        """Note that what the taker has in hand has failed for good, and why.

        One that was dismissed has nothing in hand, and its word does not count.
        """
        if self.in_hand(taker) == item:
            self.fail(item, reason)

    def fail(self, item: int, reason: str) -> None:
        """Note that an item has failed for good, and why. Whoever has it in hand has it no more."""
        with whole(self._path(FAILED, item)) as aside:
            aside.write_text(reason, encoding="utf-8")
        for path in self.folder.glob(f"*/{item:06d}"):
            if path.parent.name not in (FINISHED, FAILED):
                path.unlink(missing_ok=True)

    def has_taken(self, taker: str) -> bool:
        """Whether a taker has taken an item, whatever became of it."""
        return (self.folder / taker / HAS_TAKEN).exists()

    def waiting(self) -> list[int]:
        """Items that nobody has in hand, in their order."""
        return self._items(WAITING)

    def in_hand(self, taker: str) -> int | None:
        """What a taker works on."""
        failed = self._items(FAILED)  # by a process that was killed before it had removed the other
        return next((item for item in self._items(taker) if item not in failed), None)

    def ended(self) -> dict[int, str | None]:
        """Items that are finished, with None, and those that have failed, with the reason."""
        failed = {item: self._path(FAILED, item).read_text("utf-8") for item in self._items(FAILED)}
        return dict.fromkeys(self._items(FINISHED)) | failed

    def _items(self, state: str) -> list[int]:
        return sorted(int(path.name) for path in (self.folder / state).glob("[0-9]*"))

    def _path(self, state: str, item: int) -> Path:
        return self.folder / state / f"{item:06d}"
