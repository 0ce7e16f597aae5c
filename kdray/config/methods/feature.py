"""Configuration of `feature`."""

from typing import Literal

from pydantic import Field

from kdray.config.base import Fraction, LabelSmoothing
from kdray.config.methods.base import Online
from kdray.config.needs import Needs
from kdray.schema import View


class FeatureConfig(Online):
    """token_level, plus hidden states and attention maps of mapped teacher layers (A2D, MiniLM)."""

    kind: Literal["feature"]
    alpha: Fraction = 0.5
    temperature: float = Field(default=1.0, gt=0)
    states: Literal["normalised", "raw"] = "normalised"  # the teacher's
    hidden_weight: float = Field(default=1.0, ge=0)
    attention_weight: float = Field(default=1.0, ge=0)
    decay: float = Field(default=0.9, gt=0, le=1)  # of both weights, each epoch
    label_smoothing: LabelSmoothing = 0.1

    def needs(self) -> Needs:
        """Distributions on the references, and what is inside the teacher that gives them."""
        return Needs(
            distributions=self.on(View.REFERENCE), temperature=self.temperature, one_teacher=True
        )
