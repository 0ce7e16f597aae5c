"""Gates of the hybrid: how the weight of the token-level loss is found, and what steadies it."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from kdray.config.base import Fraction, Frozen

Inner = Annotated[float, Field(gt=0, lt=1)]


class NoStabiliserConfig(Frozen):
    """The control: g learns from the mixture and slides to the smaller loss."""

    kind: Literal["none"]


class PriorConfig(Frozen):
    """Adds strength·KL(Bern(g) ‖ Bern(initial)) for each gate value.

    The mixture and the prior balance at logit g = logit initial + (L_sentence − L_token)/strength,
    so a strength far under the losses' difference, in nats a token, holds nothing.
    """

    kind: Literal["prior"]
    strength: float = Field(default=1.0, ge=0)


class CentredConfig(Frozen):
    """g learns from losses less their running means.

    A mean that lags behind losses that fall pulls g to the loss that falls faster, so the default
    is the mean of the update before, without momentum.
    """

    kind: Literal["centred"]
    momentum: float = Field(default=0.0, ge=0, lt=1)


class BilevelConfig(Frozen):
    """g's parameters are stepped on the dev loss after one update, every few updates (Liu 2019)."""

    kind: Literal["bilevel"]
    every: int = Field(default=5, ge=1)
    dev_tokens: int = Field(default=2048, ge=16)  # of each dev batch
    epsilon: float = Field(default=0.01, gt=0)  # length of the finite difference in weights


StabiliserConfig = Annotated[
    NoStabiliserConfig | PriorConfig | CentredConfig | BilevelConfig, Field(discriminator="kind")
]
PRIOR = PriorConfig(kind="prior")


class BaseGateConfig(Frozen):
    """A gate, and what the hybrid has to know of it."""

    reads_teacher: ClassVar[bool] = False
    """Whether it asks for entropies or for probabilities of the target."""
    follows_length: ClassVar[bool] = False
    """Whether g depends on how long the run will be; see `Needs.run_length`."""

    @property
    def per_token(self) -> bool:
        """Whether it gives each target token a value of its own, rather than each sentence."""
        return False


class FixedGateConfig(BaseGateConfig):
    """A constant weight of the token-level loss."""

    kind: Literal["fixed"]
    value: Fraction = 0.5


class ScheduleGateConfig(BaseGateConfig):
    """A weight that goes from `start` to `end` over the updates, by a line or half a cosine."""

    follows_length = True
    kind: Literal["schedule"]
    start: Fraction = 1.0
    end: Fraction = 0.0
    shape: Literal["linear", "cosine"] = "linear"


class LearnedGateConfig(BaseGateConfig):
    """A gate with parameters. Their gradient alone would move g to the smaller loss."""

    kind: str
    initial: Inner = 0.5
    stabiliser: StabiliserConfig = PRIOR


class ScalarGateConfig(LearnedGateConfig):
    """One learned logit for all sentences."""

    kind: Literal["scalar"]


class SentenceGateConfig(LearnedGateConfig):
    """g(x) = σ(w·mean(encoder(x)) + b), learned with the student (Wei et al. 2024)."""

    kind: Literal["sentence"]


class TokenGateConfig(LearnedGateConfig):
    """g_t = σ(w·h_t + b) on decoder states, where both losses share the prefix (one_pass)."""

    kind: Literal["token"]

    @property
    def per_token(self) -> bool:
        """Always."""
        return True


class EntropyGateConfig(BaseGateConfig):
    """The teacher's entropy over log(number of outcomes) against a threshold.

    Where the teacher is unsure the token-level loss counts (`high: token`), or the sentence-level
    loss (`high: sentence`). `width` 0 is a hard step, else g = σ((entropy − threshold)/width).
    """

    reads_teacher = True
    kind: Literal["entropy"]
    threshold: Fraction = 0.1
    width: float = Field(default=0.0, ge=0)
    high: Literal["token", "sentence"] = "token"
    per: Literal["token", "sentence"] = "sentence"

    @property
    def per_token(self) -> bool:
        """As it is told."""
        return self.per == "token"


class ConfidenceGateConfig(BaseGateConfig):
    """1 where the student gives the target more probability than the teacher does, else 0."""

    reads_teacher = True
    kind: Literal["confidence"]
    per: Literal["token", "sentence"] = "sentence"

    @property
    def per_token(self) -> bool:
        """As it is told."""
        return self.per == "token"


GateConfig = Annotated[
    FixedGateConfig
    | ScheduleGateConfig
    | ScalarGateConfig
    | SentenceGateConfig
    | TokenGateConfig
    | EntropyGateConfig
    | ConfidenceGateConfig,
    Field(discriminator="kind"),
]
