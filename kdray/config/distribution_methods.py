"""Methods that compare the two distributions, and in the same way at every token."""

from typing import Literal, Self

from pydantic import Field, model_validator

from kdray.config.base import Fraction, LabelSmoothing
from kdray.config.distilled import EXACT, WITH_TAIL, Distilled
from kdray.config.signals import Needs, StoredView
from kdray.schema import View

DivergenceName = Literal[
    "forward", "reverse", "jensen_shannon", "total_variation", "skew", "skew_reverse", "adaptive"
]


class TokenLevelConfig(Distilled):
    """(1−α)·CE + α·T²·KL(teacher ‖ student): word-level distillation (Kim & Rush 2016)."""

    kind: Literal["token_level"]
    alpha: Fraction = 0.5
    temperature: float = Field(default=1.0, gt=0)
    label_smoothing: LabelSmoothing = 0.1
    prefix: StoredView = View.REFERENCE

    def needs(self) -> Needs:
        """Distributions at its temperature, and the hypotheses if the prefix is theirs."""
        return self.reads(self.prefix, temperature=self.temperature)


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
        return self.reads(self.prefix)


class AnnealingConfig(Distilled):
    """‖z_q − Φ(τ)·z_p‖² on centred logits, Φ rising from 1/τ_max to 1 (Jafari et al. 2021).

    The paper's first stage; give `cross_entropy` as the second in `stages`.
    """

    forms = EXACT
    kind: Literal["annealing"]
    max_temperature: int = Field(default=10, ge=1)


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
        """Distributions, and the hypotheses if the prefix is theirs."""
        return self.reads(self.prefix)
