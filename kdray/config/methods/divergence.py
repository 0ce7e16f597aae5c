"""Configuration of `divergence`."""

from typing import Literal

from pydantic import Field

from kdray.config.base import Fraction, LabelSmoothing
from kdray.config.methods.base import WITH_TAIL, Distilled
from kdray.config.needs import Needs, StoredView
from kdray.schema import View

DivergenceName = Literal[
    "forward", "reverse", "jensen_shannon", "total_variation", "skew", "skew_reverse", "adaptive"
]


class DivergenceConfig(Distilled):
    """(1−α)·CE + α·D(teacher, student) with any divergence D (Wen 2023; Ko 2024; Wu 2025)."""

    forms = WITH_TAIL
    kind: Literal["divergence"]
    divergence: DivergenceName
    alpha: Fraction = 1.0
    beta: float = Field(default=0.5, gt=0, lt=1)  # of Jensen-Shannon: the weight of the teacher
    skew: float = Field(default=0.1, gt=0, lt=1)
    head: float = Field(default=0.5, gt=0, lt=1)  # of adaptive: the teacher's mass in the head
    label_smoothing: LabelSmoothing = 0.1
    prefix: StoredView = View.REFERENCE

    def needs(self) -> Needs:
        """Distributions, and the hypotheses if the prefix is theirs."""
        return Needs(views=(self.prefix,), distributions=self.on(self.prefix))
