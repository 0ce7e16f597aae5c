"""How a model is trained: length, batches, optimiser, learning rate, choice of the weights."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from kdray.config.base import Fraction, Frozen, Name
from kdray.config.budget import BudgetConfig, EqualUpdatesConfig

WARMUP = 200  # updates
Peak = Annotated[float | None, Field(gt=0)]
"""The highest rate; None: it follows from the width, see `kdray.fit.schedule.default_peak`."""


class WarmUpConfig(Frozen):
    """A linear warm-up to `peak`; what comes after it is the kind's."""

    kind: str
    peak: Peak = None
    warmup: int = Field(default=WARMUP, ge=1)


class InverseSqrtConfig(WarmUpConfig):
    """Linear warm-up to `peak`, then peak·sqrt(warmup/step) (Vaswani et al. 2017)."""

    kind: Literal["inverse_sqrt"]


class CosineConfig(WarmUpConfig):
    """Linear warm-up to `peak`, then half a cosine down to `floor`·peak at the last update."""

    kind: Literal["cosine"]
    floor: Fraction = 0.0


class ConstantCooldownConfig(WarmUpConfig):
    """Warm-up, constant rate, then a cooldown over the last share of updates (Hägele et al. 2024).

    `shape` is linear, or `one_minus_sqrt`: peak·(1 − sqrt(progress)).
    """

    kind: Literal["constant_cooldown"]
    cooldown: float = Field(default=0.2, gt=0, le=1)
    shape: Literal["linear", "one_minus_sqrt"] = "one_minus_sqrt"

    def cooldown_start(self, updates: int) -> int:
        """The last update at the constant rate, in a run of `updates`."""
        return max(self.warmup, updates - round(self.cooldown * updates))


Precision = Literal["fp32", "bf16_autocast", "bf16_master"]
"""The precision that a model is trained in; see `kdray.fit.objective`."""

ScheduleConfig = Annotated[
    InverseSqrtConfig | CosineConfig | ConstantCooldownConfig, Field(discriminator="kind")
]


class NoAveragingConfig(Frozen):
    """The model is the weights after the last update."""

    kind: Literal["none"]


class LastAveragingConfig(Frozen):
    """The model is the mean of the last checkpoints (Vaswani et al. 2017)."""

    kind: Literal["last"]
    checkpoints: int = Field(default=5, ge=1)


class EmaConfig(Frozen):
    """Exponential moving average over updates, divided by the sum of its weights, as in Adam.

    So the initial weights have no share in it.
    """

    kind: Literal["ema"]
    decay: float = Field(default=0.999, gt=0, lt=1)


class SwaConfig(Frozen):
    """Mean over every n-th of the last updates, including the very last (Izmailov et al. 2018)."""

    kind: Literal["swa"]
    window: float = Field(default=0.2, gt=0, le=1)
    every: int = Field(default=1, ge=1)

    def snapshots(self, updates: int) -> range:
        """The updates after which the weights enter the mean."""
        first = updates - round(self.window * updates) + 1
        return range(first + (updates - first) % self.every, updates + 1, self.every)


AveragingConfig = Annotated[
    NoAveragingConfig | LastAveragingConfig | EmaConfig | SwaConfig, Field(discriminator="kind")
]


class EarlyStoppingConfig(Frozen):
    """A run ends when a dev metric has not improved in `patience` validations.

    The model then has the weights of the best validation.
    """

    metric: Literal["loss", "bleu", "chrf"] = "loss"
    patience: int = Field(ge=1)
    min_delta: float = Field(default=0.0, ge=0)  # a smaller change is no improvement


class TrainingConfig(Frozen):
    """One training run. `tokens_per_update` counts target tokens of the method's first view."""

    updates: int = Field(ge=1)
    tokens_per_update: int = Field(default=4096, ge=16, le=10**9)
    schedule: ScheduleConfig = ConstantCooldownConfig(kind="constant_cooldown")
    clip_norm: float = Field(default=1.0, gt=0)
    # auto: bf16_autocast if the hardware multiplies in bfloat16, else fp32
    precision: Precision | Literal["auto"] = "auto"
    adam_beta2: float = Field(default=0.98, gt=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    max_tokens: int = Field(default=256, ge=8)  # longer training pairs are left out and counted
    # how often an epoch has each pair of a source; 1 for those that are not named
    source_weights: dict[Name, Annotated[int, Field(ge=0, le=100)]] = Field(default_factory=dict)
    checkpoint_every: int = Field(default=250, ge=1)
    validate_every: int = Field(default=250, ge=1)  # dev loss and dev BLEU
    # None: the mean of the last 5 checkpoints, or of all if there are fewer; no averaging with
    # early_stopping
    averaging: AveragingConfig | None = None
    early_stopping: EarlyStoppingConfig | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.schedule.warmup >= self.updates:
            raise ValueError(
                f"schedule.warmup {self.schedule.warmup} must be shorter than the run of "
                f"{self.updates} updates; give it a schedule with a shorter warm-up"
            )
        if self.validate_every % self.checkpoint_every:
            raise ValueError(
                f"validate_every {self.validate_every} must be a multiple of checkpoint_every "
                f"{self.checkpoint_every}: a resumed run repeats no validation"
            )
        self._check_averaging()
        return self

    def of_stage(self, updates: int, schedule: ScheduleConfig | None) -> Self:
        """The same training over another length, with another schedule if one is given.

        If it writes fewer checkpoints than the averaging takes, all of them are averaged.
        """
        changes: dict[str, Any] = {"updates": updates}
        if schedule is not None:
            changes["schedule"] = schedule.model_dump()
        if isinstance(self.averaging, LastAveragingConfig):
            written = -(-updates // self.checkpoint_every)
            fewer = min(self.averaging.checkpoints, written)
            changes["averaging"] = {"kind": "last", "checkpoints": fewer}
        return type(self).model_validate(self.model_dump() | changes)

    @property
    def num_checkpoints(self) -> int:
        """How many checkpoints a run writes up to its last update."""
        return -(-self.updates // self.checkpoint_every)

    def effective_averaging(self) -> AveragingConfig:
        """The averaging that is configured, or else the default for this run."""
        if self.averaging is not None:
            return self.averaging
        if self.early_stopping is not None:
            return NoAveragingConfig(kind="none")
        default = LastAveragingConfig(kind="last").checkpoints
        return LastAveragingConfig(kind="last", checkpoints=min(default, self.num_checkpoints))

    def _check_averaging(self) -> None:
        averaging = self.averaging
        match averaging:
            case LastAveragingConfig() if averaging.checkpoints > self.num_checkpoints:
                raise ValueError(
                    f"averaging.checkpoints {averaging.checkpoints} is more than the run writes: "
                    f"{self.updates} updates with a checkpoint_every of {self.checkpoint_every} "
                    f"leave {self.num_checkpoints}; average fewer, or write them more often"
                )
            case SwaConfig() if (n := len(averaging.snapshots(self.updates))) < 2:
                window = round(averaging.window * self.updates)
                raise ValueError(
                    f"averaging.window {averaging.window:g} is the last {window} of {self.updates} "
                    f"updates, and every {averaging.every} of them makes {n} to take the mean of; "
                    "widen the window, or lower `every`"
                )
            case LastAveragingConfig() | SwaConfig() if self.early_stopping is not None:
                raise ValueError(
                    f"averaging.kind {averaging.kind} is a mean at the end of a run, and with "
                    "early_stopping the model is that of the best checkpoint before it; use ema "
                    "or none"
                )


class StudentsTrainingConfig(TrainingConfig):
    """The training of students, and what all of them have in equal measure."""

    budget: BudgetConfig = EqualUpdatesConfig(kind="updates")
