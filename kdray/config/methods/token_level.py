"""Configuration of `token_level`."""

from typing import Literal

from pydantic import Field

from kdray.config.base import Fraction, LabelSmoothing
from kdray.config.methods.base import Distilled
from kdray.config.needs import Needs, StoredView
from kdray.schema import View


class TokenLevelConfig(Distilled):
    """(1−α)·CE + α·T²·KL(teacher ‖ student): word-level distillation (Kim & Rush 2016)."""

    kind: Literal["token_level"]
    alpha: Fraction = 0.5
    temperature: float = Field(default=1.0, gt=0)
    label_smoothing: LabelSmoothing = 0.1
    prefix: StoredView = View.REFERENCE

    def needs(self) -> Needs:
        """Distributions at its temperature, and the hypotheses if the prefix is theirs."""
        return Needs(
            views=(self.prefix,),
            distributions=self.on(self.prefix),
            temperature=self.temperature,
        )
