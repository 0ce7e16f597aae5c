"""Configuration of `interpolation`."""

from typing import Literal

from pydantic import Field

from kdray.config.base import LabelSmoothing
from kdray.config.methods.base import BaseMethodConfig
from kdray.config.needs import Needs
from kdray.schema import View


class InterpolationConfig(BaseMethodConfig):
    """Cross-entropy on the hypothesis of the n best that is closest to the reference."""

    kind: Literal["interpolation"]
    n: int = Field(default=8, ge=1, le=64)
    similarity: Literal["bleu", "chrf"] = "bleu"
    label_smoothing: LabelSmoothing = 0.0

    def needs(self) -> Needs:
        """The translations to choose from."""
        return Needs(views=(View.HYPOTHESIS,), chosen_among=self.n)
