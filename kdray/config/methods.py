"""The distillation methods. A method's config says which teacher signals it needs."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from kdray.config.base import Fraction, Frozen
from kdray.config.gates import (
    ConfidenceGateConfig,
    EntropyGateConfig,
    FixedGateConfig,
    GateConfig,
    TokenGateConfig,
)
from kdray.config.signals import Needs, StoredView
from kdray.config.training import ScheduleConfig
from kdray.schema import Form, View

LabelSmoothing = Annotated[float, Field(ge=0, lt=1)]
"""Spread evenly over the vocabulary; of the cross-entropy on references, never of a KL term."""

EXACT = (Form.HIDDEN, Form.ONLINE)  # whole distributions
WITH_TAIL = (Form.HIDDEN, Form.TOPK, Form.ONLINE)  # any divergence, exact but for a coarse tail
ALL = (Form.HIDDEN, Form.TOPK, Form.SAMPLED, Form.ONLINE)  # losses that are linear in p


class Distilled(Frozen):
    """What methods that read the teacher's distributions have in common."""

    forms: ClassVar[tuple[Form, ...]] = ALL
    signal: Literal["best", "topk", "sampled", "hidden", "online"] = "best"

    def usable(self) -> tuple[Form, ...]:
        """The forms that this method can read, best first."""
        if self.signal == "best":
            return self.forms
        return tuple(form for form in self.forms if form == self.signal)

    @model_validator(mode="after")
    def _can_read_it(self) -> Self:
        if not self.usable():
            raise ValueError(
                f"signal {self.signal!r} does not hold what this method reads; "
                f"use best, {', '.join(self.forms)}"
            )
        return self

    def reads(self, prefix: View, *, temperature: float = 1.0, hypotheses: int = 0) -> Needs:
        """Distributions on one view, and the hypotheses if that view is theirs."""
        hyps = max(hypotheses, int(prefix is View.HYPOTHESIS))
        return Needs(hyps, {prefix: self.usable()}, temperature)


class CrossEntropyConfig(Frozen):
    """The baseline: label-smoothed cross-entropy on the references, no teacher."""

    kind: Literal["cross_entropy"]
    label_smoothing: LabelSmoothing = 0.1

    def needs(self) -> Needs:
        """Teacher signals that this method reads."""
        return Needs()


class TokenLevelConfig(Distilled):
    """(1−α)·CE + α·T²·KL(teacher ‖ student): word-level distillation (Kim & Rush 2016)."""

    kind: Literal["token_level"]
    alpha: Fraction = 0.5
    temperature: float = Field(default=1.0, gt=0)
    label_smoothing: LabelSmoothing = 0.1
    prefix: StoredView = View.REFERENCE

    def needs(self) -> Needs:
        """Teacher signals that this method reads."""
        return self.reads(self.prefix, temperature=self.temperature)


class SentenceLevelConfig(Frozen):
    """Cross-entropy on the teacher's translations (Kim & Rush 2016), optionally references too."""

    kind: Literal["sentence_level"]
    with_reference: bool = False
    label_smoothing: LabelSmoothing = 0.0

    def needs(self) -> Needs:
        """Teacher signals that this method reads."""
        return Needs(hypotheses=1)


class InterpolationConfig(Frozen):
    """Cross-entropy on the hypothesis of the n best that is closest to the reference."""

    kind: Literal["interpolation"]
    n: int = Field(default=8, ge=1, le=64)
    similarity: Literal["bleu", "chrf"] = "bleu"
    label_smoothing: LabelSmoothing = 0.0

    def needs(self) -> Needs:
        """Teacher signals that this method reads."""
        return Needs(hypotheses=self.n)


class MultiHypothesisConfig(Frozen):
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
        """Teacher signals that this method reads."""
        return Needs(hypotheses=self.candidates)


class HybridConfig(Distilled):
    """g·L_token + (1−g)·L_sentence, each per token before mixing (Wei et al. 2024).

    `two_pass` takes L_token on the reference and L_sentence on the hypothesis, with one encoder
    pass; `one_pass` takes both on the hypothesis.
    """

    kind: Literal["hybrid"]
    gate: GateConfig = FixedGateConfig(kind="fixed")
    layout: Literal["two_pass", "one_pass"] = "two_pass"
    temperature: float = Field(default=1.0, gt=0)

    def usable(self) -> tuple[Form, ...]:
        """Draws tell neither the teacher's entropy nor the probability of a target."""
        forms = super().usable()
        if isinstance(self.gate, EntropyGateConfig | ConfidenceGateConfig):
            return tuple(form for form in forms if form is not Form.SAMPLED)
        return forms

    @model_validator(mode="after")
    def _one_prefix(self) -> Self:
        per = (
            self.gate.per if isinstance(self.gate, EntropyGateConfig | ConfidenceGateConfig) else ""
        )
        if self.layout == "two_pass" and (isinstance(self.gate, TokenGateConfig) or per == "token"):
            raise ValueError(
                f"gate {self.gate.kind} gives each target token a weight of its own, and in the "
                "layout two_pass the two losses have different target tokens; use layout one_pass, "
                "or a gate for each sentence"
            )
        return self

    def needs(self) -> Needs:
        """Teacher signals that this method reads."""
        prefix = View.REFERENCE if self.layout == "two_pass" else View.HYPOTHESIS
        return self.reads(prefix, temperature=self.temperature, hypotheses=1)


class HardGateConfig(Distilled):
    """At each token the teacher alone or the reference alone (Hard-Gate KD, Lee 2022).

    The teacher where the student is surer of the reference token than the teacher is, as a guard
    against over-confidence; the temperature is the teacher's only.
    """

    forms = WITH_TAIL
    kind: Literal["hard_gate"]
    temperature: float = Field(default=1.5, gt=0)
    per: Literal["token", "sentence"] = "token"
    label_smoothing: LabelSmoothing = 0.0

    def needs(self) -> Needs:
        """Teacher signals that this method reads."""
        return self.reads(View.REFERENCE, temperature=self.temperature)


class SelectiveConfig(Distilled):
    """CE, plus KL on the tokens that the student finds hardest (Wang et al. 2021).

    `batch` takes the share of each batch; `global` compares with the losses of the last
    `queue` tokens.
    """

    kind: Literal["selective"]
    scope: Literal["batch", "global"] = "global"
    share: float = Field(default=0.5, gt=0, le=1)
    queue: int = Field(default=30_000, ge=1)
    label_smoothing: LabelSmoothing = 0.1

    def needs(self) -> Needs:
        """Teacher signals that this method reads."""
        return self.reads(View.REFERENCE)


class TieConfig(Distilled):
    """Top-1 information enhanced distillation: KL and a ranking loss, iterated (Zhang 2023)."""

    forms = (Form.ONLINE,)
    kind: Literal["tie"]
    alpha: Fraction = 0.5
    k: int = Field(default=5, ge=1)
    passes: int = Field(default=3, ge=1)
    label_smoothing: LabelSmoothing = 0.1

    def needs(self) -> Needs:
        """Teacher signals that this method reads."""
        return self.reads(View.REFERENCE)


class AnnealingConfig(Distilled):
    """‖z_q − Φ(τ)·z_p‖² on centred logits, Φ rising from 1/τ_max to 1 (Jafari et al. 2021).

    The paper's first stage; give `cross_entropy` as the second in `stages`.
    """

    forms = EXACT
    kind: Literal["annealing"]
    max_temperature: int = Field(default=10, ge=1)

    def needs(self) -> Needs:
        """Teacher signals that this method reads."""
        return self.reads(View.REFERENCE)


class DivergenceConfig(Distilled):
    """(1−α)·CE + α·D(teacher, student) with any divergence D (Wen 2023; Ko 2024; Wu 2024)."""

    forms = WITH_TAIL
    kind: Literal["divergence"]
    divergence: Literal[
        "forward",
        "reverse",
        "jensen_shannon",
        "total_variation",
        "skew",
        "skew_reverse",
        "adaptive",
    ]
    alpha: Fraction = 1.0
    beta: float = Field(default=0.5, gt=0, lt=1)  # of Jensen-Shannon: the weight of the teacher
    skew: float = Field(default=0.1, gt=0, lt=1)
    head: float = Field(default=0.5, gt=0, lt=1)  # of adaptive: the teacher's mass in the head
    label_smoothing: LabelSmoothing = 0.1
    prefix: StoredView = View.REFERENCE

    def needs(self) -> Needs:
        """Teacher signals that this method reads."""
        return self.reads(self.prefix)


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
            raise ValueError(f"start {self.start:g} is behind end {self.end:g}; t only grows")
        return self

    def needs(self) -> Needs:
        """Teacher signals that this method reads."""
        return self.reads(self.prefix)


class ImitationConfig(Distilled):
    """The teacher's word for prefixes that the student made (Lin et al. 2020).

    Sentences take student prefixes with probability 1 − base^(−i/N), i of N the update.
    """

    forms = (Form.ONLINE,)
    kind: Literal["imitation"]
    target: Literal["distribution", "argmax"] = "distribution"
    base: float = Field(default=200.0, gt=1)
    refresh: int = Field(default=4, ge=1)  # updates between two copies of the student that writes

    def needs(self) -> Needs:
        """Teacher signals that this method reads."""
        return Needs(0, {View.STUDENT: self.usable()})


class OnPolicyConfig(Distilled):
    """(1−λ)·D on references + λ·D on sequences that the student samples (Agarwal et al. 2024)."""

    forms = (Form.ONLINE,)
    kind: Literal["on_policy"]
    student_share: Fraction = 0.5  # λ
    divergence: Literal["forward", "reverse", "jensen_shannon"] = "jensen_shannon"
    beta: float = Field(default=0.5, gt=0, lt=1)
    temperature: float = Field(default=1.0, gt=0)  # of the sampling

    def needs(self) -> Needs:
        """Teacher signals that this method reads."""
        return Needs(0, {View.REFERENCE: self.usable(), View.STUDENT: self.usable()})


class FeatureConfig(Distilled):
    """token_level, plus hidden states and attention maps of mapped teacher layers (A2D, MiniLM)."""

    forms = (Form.ONLINE,)
    kind: Literal["feature"]
    alpha: Fraction = 0.5
    temperature: float = Field(default=1.0, gt=0)
    hidden_weight: float = Field(default=1.0, ge=0)
    attention_weight: float = Field(default=1.0, ge=0)
    decay: float = Field(default=0.9, gt=0, le=1)  # of both weights, each epoch
    label_smoothing: LabelSmoothing = 0.1

    def needs(self) -> Needs:
        """Teacher signals that this method reads."""
        return self.reads(View.REFERENCE)


SingleMethodConfig = Annotated[
    CrossEntropyConfig
    | TokenLevelConfig
    | SentenceLevelConfig
    | InterpolationConfig
    | MultiHypothesisConfig
    | HybridConfig
    | HardGateConfig
    | SelectiveConfig
    | TieConfig
    | AnnealingConfig
    | DivergenceConfig
    | TaidConfig
    | ImitationConfig
    | OnPolicyConfig
    | FeatureConfig,
    Field(discriminator="kind"),
]


class StageConfig(Frozen):
    """A part of a training: a method, its length, and a schedule if it is not the students'."""

    method: SingleMethodConfig
    updates: int = Field(ge=1)
    schedule: ScheduleConfig | None = None


class StagesConfig(Frozen):
    """Methods one after another, each going on with the student that the one before left."""

    kind: Literal["stages"]
    stages: tuple[StageConfig, ...] = Field(min_length=2)


MethodConfig = Annotated[SingleMethodConfig | StagesConfig, Field(discriminator="kind")]


def single_methods(config: MethodConfig) -> tuple[SingleMethodConfig, ...]:
    """The methods that a config is made of: itself, or those of its stages."""
    if isinstance(config, StagesConfig):
        return tuple(stage.method for stage in config.stages)
    return (config,)
