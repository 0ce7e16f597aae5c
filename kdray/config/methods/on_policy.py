"""Configuration of `on_policy`."""

from typing import Literal

from pydantic import Field

from kdray.config.base import Fraction
from kdray.config.methods.base import Online
from kdray.config.needs import Needs
from kdray.schema import View


class OnPolicyConfig(Online):
    """(1−λ)·D on references + λ·D on sequences that the student samples (Agarwal et al. 2024)."""

    kind: Literal["on_policy"]
    student_share: Fraction = 0.5  # λ
    divergence: Literal["forward", "reverse", "jensen_shannon"] = "jensen_shannon"
    beta: float = Field(default=0.5, gt=0, lt=1)
    temperature: float = Field(default=1.0, gt=0)  # of the sampling

    def needs(self) -> Needs:
        """Distributions on the references, and on the student's sequences if there are any."""
        own = (View.STUDENT,) if self.student_share else ()
        return Needs(distributions=self.on(View.REFERENCE, *own))
