"""Configuration of `interpolation`."""

from typing import Literal

from pydantic import Field

from kdray.config.base import Frozen, LabelSmoothing
from kdray.config.signals import Needs


class InterpolationConfig(Frozen):
    """Cross-entropy on the hypothesis of the n best that is closest to the reference."""

    kind: Literal["interpolation"]
    n: int = Field(default=8, ge=1, le=64)
    similarity: Literal["bleu", "chrf"] = "bleu"
    label_smoothing: LabelSmoothing = 0.0

    def needs(self) -> Needs:
        """The translations to choose from."""
        return Needs(hypotheses=self.n)
