"""What several processes want and one holds: how it is waited for, and two such things held as one.

The kinds are a lease in a file (`storage/lease`) and one in a storage of objects
(`storage/remote_lease`).
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeVar

from kdray.errors import InputError

POLL_SECONDS = 0.5


class Held(Protocol):
    """What this process holds alone until it is released, or until the end of a `with` block."""

    def check(self) -> None:
        """Prove that this process still holds it.

        Raises:
            LeaseLost: another process has taken it over.
        """

    def release(self) -> None:
        """Give it up. What is another's by now is left alone."""

    def __enter__(self) -> Self:
        """Hold it."""

    def __exit__(self, *_: object) -> None:
        """Release it."""


H = TypeVar("H", bound=Held)
H_co = TypeVar("H_co", bound=Held, covariant=True)


class Claims(Protocol[H_co]):
    """A process that wants something. `holder` and `place`: whom it waits for, where, in words."""

    @property
    def holder(self) -> str:
        """Empty until it is known."""

    @property
    def place(self) -> str:
        """Of what it wants."""

    def take(self) -> H_co | None:
        """Try once. -> what is held from now on, or None while another process holds it."""


def wait_for(
    claim: Claims[H],
    *,
    waits: Callable[[str], None] = lambda holder: None,
    seconds: float = math.inf,
) -> H:
    """Wait until it is held. `waits` is told, once, whose end is waited for.

    Raises:
        InputError: another process has held it for so many seconds.
    """
    began, is_told = time.monotonic(), False
    while (held := claim.take()) is None:
        if claim.holder and not is_told:
            waits(claim.holder)
            is_told = True
        if time.monotonic() - began > seconds:
            raise InputError(
                f"{claim.place}: {claim.holder} has worked on this for {seconds:.0f} s and goes "
                "on; wait for it, or stop it"
            )
        time.sleep(POLL_SECONDS)
    return held


@dataclass(frozen=True, slots=True)
class HeldTwice:
    """What one has who holds something on its machine, and then among all machines."""

    here: Held
    everywhere: Held

    def check(self) -> None:
        """See `Held`."""
        self.here.check()
        self.everywhere.check()

    def release(self) -> None:
        """See `Held`."""
        self.everywhere.release()
        self.here.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(slots=True)
class ClaimTwice:
    """Wants both. The first is given back while the second is another's: nobody waits with it."""

    here: Claims[Held]
    everywhere: Claims[Held]
    holder: str = field(default="", init=False)

    @property
    def place(self) -> str:
        """See `Claims`."""
        return self.everywhere.place

    def take(self) -> HeldTwice | None:
        """See `Claims`."""
        if (here := self.here.take()) is None:
            self.holder = self.here.holder
            return None
        everywhere = None
        try:
            everywhere = self.everywhere.take()
        finally:
            if everywhere is None:
                here.release()
                self.holder = self.everywhere.holder
        return None if everywhere is None else HeldTwice(here, everywhere)
