"""What the configuration of every method declares, and of those that read distributions."""

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from kdray.config.base import Frozen
from kdray.config.needs import Needs
from kdray.schema import Form, View

EXACT = (Form.HIDDEN, Form.ONLINE)  # whole distributions
WITH_TAIL = (Form.HIDDEN, Form.TOPK, Form.ONLINE)  # any divergence, exact but for a coarse tail
ALL = (Form.HIDDEN, Form.TOPK, Form.SAMPLED, Form.ONLINE)  # losses that are linear in p


class BaseMethodConfig(Frozen):
    """A method: its fields, and in `needs` all that others have to know of it."""

    def needs(self) -> Needs:
        """What the method learns from: references without a teacher, if not told otherwise."""
        return Needs()


class Distilled(BaseMethodConfig):
    """What methods that read the teacher's distributions have in common."""

    forms: ClassVar[tuple[Form, ...]] = ALL
    signal: Literal["best", "topk", "sampled", "hidden", "online"] = "best"

    def usable(self) -> tuple[Form, ...]:
        """The forms that this method can read, best first."""
        if self.signal == "best":
            return self.forms
        return tuple(form for form in self.forms if form == self.signal)

    @model_validator(mode="after")
    def _can_read_it(self) -> Self:
        if not self.usable():
            raise ValueError(
                f"signal {self.signal!r} does not hold what this method reads; "
                f"use best, {', '.join(self.forms)}"
            )
        return self

    def on(self, *views: View) -> Mapping[View, tuple[Form, ...]]:
        """Distributions on these views, in the forms that this method can read."""
        return {view: self.usable() for view in views}

    def needs(self) -> Needs:
        """What the method learns from: references with distributions, if not told otherwise."""
        return Needs(distributions=self.on(View.REFERENCE))


class Online(Distilled):
    """What methods that no stored distributions can serve have in common."""

    forms = (Form.ONLINE,)
