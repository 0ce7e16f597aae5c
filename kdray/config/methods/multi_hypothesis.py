"""Configuration of `multi_hypothesis`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from kdray.config.base import LabelSmoothing
from kdray.config.methods.base import BaseMethodConfig
from kdray.config.needs import Needs
from kdray.schema import View


class MultiHypothesisConfig(BaseMethodConfig):
    """Cross-entropy on the n hypotheses of least Bayes risk among the candidates (Wang 2024)."""

    kind: Literal["multi_hypothesis"]
    n: int = Field(default=5, ge=1, le=64)
    candidates: int = Field(default=8, ge=1, le=64)
    similarity: Literal["bleu", "chrf"] = "chrf"
    label_smoothing: LabelSmoothing = 0.0

    @model_validator(mode="after")
    def _candidates_hold_them(self) -> Self:
        if self.n > self.candidates:
            raise ValueError(f"n {self.n} is more than the {self.candidates} candidates")
        return self

    def needs(self) -> Needs:
        """The translations to choose from."""
        return Needs(views=(View.HYPOTHESIS,), chosen_among=self.candidates, all_hypotheses=True)
