"""Configuration of `hard_gate`."""

from typing import Literal

from pydantic import Field

from kdray.config.base import LabelSmoothing
from kdray.config.methods.base import WITH_TAIL, Distilled
from kdray.config.needs import Needs
from kdray.schema import View


class HardGateConfig(Distilled):
    """At each token the teacher alone or the reference alone (Hard-Gate KD, Lee 2022).

    The teacher where the student is surer of the reference token than the teacher is, as a guard
    against over-confidence; the temperature is the teacher's only.
    """

    forms = WITH_TAIL
    kind: Literal["hard_gate"]
    temperature: float = Field(default=1.5, gt=0)
    per: Literal["token", "sentence"] = "token"
    label_smoothing: LabelSmoothing = 0.0

    def needs(self) -> Needs:
        """Distributions at its temperature on the references."""
        return Needs(distributions=self.on(View.REFERENCE), temperature=self.temperature)
