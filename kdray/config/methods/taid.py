"""Configuration of `taid`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from kdray.config.base import Fraction
from kdray.config.methods.base import EXACT, Distilled
from kdray.config.needs import Needs, StoredView
from kdray.schema import View


class TaidConfig(Distilled):
    """Towards a teacher that starts at the student and moves away from it (Shing et al. 2025)."""

    forms = EXACT
    kind: Literal["taid"]
    start: Fraction = 0.4
    end: Fraction = 1.0
    rate: float = Field(default=5e-4, ge=0)
    momentum: float = Field(default=0.99, ge=0, lt=1)
    prefix: StoredView = View.REFERENCE

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.start > self.end:
            raise ValueError(f"start {self.start:g} is beyond end {self.end:g}; t only grows")
        return self

    def needs(self) -> Needs:
        """Distributions on the prefix; t keeps above a line over the whole run."""
        return Needs(views=(self.prefix,), distributions=self.on(self.prefix), run_length=True)
