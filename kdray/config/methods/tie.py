"""Configuration of `tie`."""

from typing import Literal

from pydantic import Field

from kdray.config.base import Fraction, LabelSmoothing
from kdray.config.methods.base import Online


class TieConfig(Online):
    """Top-1 information enhanced distillation: KL and a ranking loss, iterated (Zhang 2023)."""

    kind: Literal["tie"]
    alpha: Fraction = 0.5
    k: int = Field(default=5, ge=1)
    passes: int = Field(default=3, ge=1)
    label_smoothing: LabelSmoothing = 0.1
