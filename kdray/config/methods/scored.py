"""Configuration of `scored`."""

from typing import Literal

from pydantic import Field

from kdray.config.base import LabelSmoothing
from kdray.config.methods.base import BaseMethodConfig
from kdray.config.needs import Needs
from kdray.schema import View


class ScoredConfig(BaseMethodConfig):
    """Cross-entropy on the hypothesis of the n best that a score of the signals prefers."""

    kind: Literal["scored"]
    by: str  # the name of the score in `recipe.signals.scores`
    n: int = Field(default=1, ge=1, le=64)
    at_least: float | None = None  # pairs whose best score is lower are not learned
    label_smoothing: LabelSmoothing = 0.0

    def needs(self) -> Needs:
        """The translations to choose from, and their score."""
        return Needs(views=(View.HYPOTHESIS,), chosen_among=self.n, scored_by=self.by)
