"""How a model is trained: length, batches, optimiser, learning rate, averaging."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kdray.config.base import Fraction, Frozen


class InverseSqrtConfig(Frozen):
    """Linear warm-up to `peak`, then peak·sqrt(warmup/step) (Vaswani et al. 2017)."""

    kind: Literal["inverse_sqrt"]
    peak: float = Field(gt=0)
    warmup: int = Field(ge=1)


class CosineConfig(Frozen):
    """Linear warm-up to `peak`, then half a cosine down to `floor`·peak at the last update."""

    kind: Literal["cosine"]
    peak: float = Field(gt=0)
    warmup: int = Field(ge=1)
    floor: Fraction = 0.0


class ConstantCooldownConfig(Frozen):
    """Warm-up, constant rate, then a cooldown over the last share of updates (Hägele et al. 2024).

    `shape` is linear, or `one_minus_sqrt`: peak·(1 − sqrt(progress)).
    """

    kind: Literal["constant_cooldown"]
    peak: float = Field(gt=0)
    warmup: int = Field(ge=1)
    cooldown: float = Field(default=0.2, gt=0, le=1)
    shape: Literal["linear", "one_minus_sqrt"] = "one_minus_sqrt"

    def cooldown_start(self, updates: int) -> int:
        """The last update at the constant rate, in a run of so many."""
        return max(self.warmup, updates - round(self.cooldown * updates))


Precision = Literal["fp32", "bf16_autocast", "bf16_master"]
"""In what a model is trained; see `kdray.fit.objective`."""

ScheduleConfig = Annotated[
    InverseSqrtConfig | CosineConfig | ConstantCooldownConfig, Field(discriminator="kind")
]


class TrainingConfig(Frozen):
    """One training run. `tokens_per_update` counts reference tokens over all workers."""

    updates: int = Field(ge=1)
    tokens_per_update: int = Field(default=4096, ge=16)
    schedule: ScheduleConfig
    clip_norm: float = Field(default=1.0, gt=0)
    # auto: bf16_autocast where the hardware multiplies in bfloat16, else fp32
    precision: Precision | Literal["auto"] = "auto"
    adam_beta2: float = Field(default=0.98, gt=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    max_tokens: int = Field(default=256, ge=8)  # longer training pairs go to quarantine
    checkpoint_every: int = Field(default=250, ge=1)
    validate_every: int = Field(default=250, ge=1)  # dev loss and dev BLEU
    average_last: int = Field(default=5, ge=1)  # checkpoints whose mean is the model

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.schedule.warmup >= self.updates:
            raise ValueError(
                f"schedule.warmup {self.schedule.warmup} must be shorter than the run of "
                f"{self.updates} updates"
            )
        if self.validate_every % self.checkpoint_every:
            raise ValueError(
                f"validate_every {self.validate_every} must be a multiple of checkpoint_every "
                f"{self.checkpoint_every}: a resumed run repeats no validation"
            )
        return self
