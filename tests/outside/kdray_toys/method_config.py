"""Configuration of `toy_hellinger`."""

from typing import Literal

from pydantic import Field

from kdray.config.base import Fraction, LabelSmoothing
from kdray.config.methods.base import EXACT, Distilled
from kdray.config.needs import Needs
from kdray.schema import View


class HellingerConfig(Distilled):
    """(1−α)·CE + α·H²(teacher, student), the squared Hellinger distance."""

    forms = EXACT
    kind: Literal["toy_hellinger"]
    alpha: Fraction = 0.5
    temperature: float = Field(default=1.0, gt=0)
    label_smoothing: LabelSmoothing = 0.1

    def needs(self) -> Needs:
        """Distributions at its temperature on the references."""
        return Needs(distributions=self.on(View.REFERENCE), temperature=self.temperature)
