"""The distillation methods. A method's config says which teacher signals it needs."""

from typing import Annotated, Literal

from pydantic import Field

from kdray.config.base import Fraction, Frozen
from kdray.schema import Signal, View

LabelSmoothing = Annotated[float, Field(ge=0, lt=1)]


class CrossEntropyConfig(Frozen):
    """The baseline: label-smoothed cross-entropy on the references, no teacher."""

    kind: Literal["cross_entropy"]
    label_smoothing: LabelSmoothing = 0.1

    def needs(self) -> frozenset[Signal]:
        """Teacher signals that this method reads."""
        return frozenset()


class TokenLevelConfig(Frozen):
    """(1−α)·CE + α·T²·KL(teacher ‖ student): word-level distillation (Kim & Rush 2016)."""

    kind: Literal["token_level"]
    alpha: Fraction = 0.5
    temperature: float = Field(default=1.0, gt=0)
    label_smoothing: LabelSmoothing = 0.1  # of the cross-entropy on references only
    prefix: View = View.REFERENCE

    def needs(self) -> frozenset[Signal]:
        """Teacher signals that this method reads."""
        return frozenset(_distribution_signals(self.prefix))


class SentenceLevelConfig(Frozen):
    """Cross-entropy on the teacher's translations (Kim & Rush 2016), optionally references too."""

    kind: Literal["sentence_level"]
    with_reference: bool = False
    label_smoothing: LabelSmoothing = 0.0

    def needs(self) -> frozenset[Signal]:
        """Teacher signals that this method reads."""
        return frozenset({Signal.HYPOTHESES})


class FixedGateConfig(Frozen):
    """A constant weight of the token-level loss."""

    kind: Literal["fixed"]
    value: Fraction = 0.5


class SentenceGateConfig(Frozen):
    """g(x) = σ(w·mean(encoder(x)) + b), learned with the student (Wei et al. 2024).

    Back-propagating the mixture alone drives g to whichever loss is numerically smaller.
    `prior` adds strength·KL(Bern(g) ‖ Bern(initial)) for each sentence; `centred` takes g's
    gradient from losses less their running means; `none` is the control.
    """

    kind: Literal["sentence"]
    initial: float = Field(default=0.5, gt=0, lt=1)
    stabiliser: Literal["prior", "centred", "none"] = "prior"
    strength: float = Field(default=0.05, ge=0)
    momentum: float = Field(default=0.99, ge=0, lt=1)


GateConfig = Annotated[FixedGateConfig | SentenceGateConfig, Field(discriminator="kind")]


class HybridConfig(Frozen):
    """g·L_token + (1−g)·L_sentence, each per token before mixing (Wei et al. 2024).

    `two_pass` takes L_token on the reference and L_sentence on the hypothesis, with one encoder
    pass; `one_pass` takes both on the hypothesis.
    """

    kind: Literal["hybrid"]
    gate: GateConfig = FixedGateConfig(kind="fixed")
    layout: Literal["two_pass", "one_pass"] = "two_pass"
    temperature: float = Field(default=1.0, gt=0)

    def needs(self) -> frozenset[Signal]:
        """Teacher signals that this method reads."""
        prefix = View.REFERENCE if self.layout == "two_pass" else View.HYPOTHESIS
        return frozenset({Signal.HYPOTHESES} | _distribution_signals(prefix))


def _distribution_signals(prefix: View) -> set[Signal]:
    if prefix is View.REFERENCE:
        return {Signal.REFERENCE_DISTRIBUTIONS}
    return {Signal.HYPOTHESES, Signal.HYPOTHESIS_DISTRIBUTIONS}


MethodConfig = Annotated[
    CrossEntropyConfig | TokenLevelConfig | SentenceLevelConfig | HybridConfig,
    Field(discriminator="kind"),
]
