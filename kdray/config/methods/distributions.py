"""Methods that learn from the teacher's distributions, stored or online."""

from typing import Literal, Self

from pydantic import Field, model_validator

from kdray.config.base import Fraction, LabelSmoothing
from kdray.config.gates import FixedGateConfig, GateConfig
from kdray.config.methods.base import EXACT, WITH_TAIL, Distilled
from kdray.config.signals import Needs, StoredView
from kdray.schema import Form, View


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
        if self.gate.reads_teacher:
            return tuple(form for form in forms if form is not Form.SAMPLED)
        return forms

    @model_validator(mode="after")
    def _one_prefix(self) -> Self:
        if self.layout == "two_pass" and self.gate.per_token:
            raise ValueError(
                f"gate {self.gate.kind} gives each target token a weight of its own, and in the "
                "layout two_pass the two losses have different target tokens; use layout one_pass, "
                "or a gate for each sentence"
            )
        return self

    def needs(self) -> Needs:
        """The distributions of L_token, on the first view, and the hypothesis of L_sentence."""
        first = (View.REFERENCE,) if self.layout == "two_pass" else ()
        views = (*first, View.HYPOTHESIS)
        return Needs(
            views=views,
            distributions=self.on(views[0]),
            temperature=self.temperature,
            run_length=self.gate.follows_length,
        )


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
        """Distributions at its temperature on the references."""
        return Needs(distributions=self.on(View.REFERENCE), temperature=self.temperature)


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


class AnnealingConfig(Distilled):
    """‖z_q − Φ(τ)·z_p‖² on centred logits, Φ rising from 1/τ_max to 1 (Jafari et al. 2021).

    The paper's first stage; give `cross_entropy` as the second in `stages`.
    """

    forms = EXACT
    kind: Literal["annealing"]
    max_temperature: int = Field(default=10, ge=1)

    def needs(self) -> Needs:
        """Distributions on the references; Φ rises over the whole run."""
        return Needs(distributions=self.on(View.REFERENCE), run_length=True)


DivergenceName = Literal[
    "forward", "reverse", "jensen_shannon", "total_variation", "skew", "skew_reverse", "adaptive"
]


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
        return Needs(views=(self.prefix,), distributions=self.on(self.prefix))


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
