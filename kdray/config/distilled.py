"""What methods that read the teacher's distributions ask for: in which form, and on which view."""

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from kdray.config.base import Frozen
from kdray.config.signals import Needs
from kdray.schema import Form, View

EXACT = (Form.HIDDEN, Form.ONLINE)  # whole distributions
WITH_TAIL = (Form.HIDDEN, Form.TOPK, Form.ONLINE)  # any divergence, exact but for a coarse tail
ALL = (Form.HIDDEN, Form.TOPK, Form.SAMPLED, Form.ONLINE)  # losses that are linear in p


class Distilled(Frozen):
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

    def reads(self, prefix: View, *, temperature: float = 1.0, hypotheses: int = 0) -> Needs:
        """Distributions on one view, and the hypotheses if that view is theirs."""
        hyps = max(hypotheses, int(prefix is View.HYPOTHESIS))
        return Needs(hyps, {prefix: self.usable()}, temperature)

    def needs(self) -> Needs:
        """Teacher signals that this method reads: on the references, if not told otherwise."""
        return self.reads(View.REFERENCE)


class Online(Distilled):
    """What methods that no stored distributions can serve have in common."""

    forms = (Form.ONLINE,)
