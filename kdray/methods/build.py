"""From a method's config to the method: the one place that knows them all."""

from typing import assert_never

from kdray.config.gates import (
    BilevelConfig,
    CentredConfig,
    ConfidenceGateConfig,
    EntropyGateConfig,
    FixedGateConfig,
    GateConfig,
    NoStabiliserConfig,
    PriorConfig,
    ScalarGateConfig,
    ScheduleGateConfig,
    SentenceGateConfig,
    StabiliserConfig,
    TokenGateConfig,
)
from kdray.config.methods.annealing import AnnealingConfig
from kdray.config.methods.cross_entropy import CrossEntropyConfig
from kdray.config.methods.divergence import DivergenceConfig
from kdray.config.methods.feature import FeatureConfig
from kdray.config.methods.hard_gate import HardGateConfig
from kdray.config.methods.hybrid import HybridConfig
from kdray.config.methods.imitation import ImitationConfig
from kdray.config.methods.interpolation import InterpolationConfig
from kdray.config.methods.multi_hypothesis import MultiHypothesisConfig
from kdray.config.methods.on_policy import OnPolicyConfig
from kdray.config.methods.selective import SelectiveConfig
from kdray.config.methods.sentence_level import SentenceLevelConfig
from kdray.config.methods.taid import TaidConfig
from kdray.config.methods.tie import TieConfig
from kdray.config.methods.token_level import TokenLevelConfig
from kdray.config.methods.union import SingleMethodConfig
from kdray.methods import gates, stabilisers
from kdray.methods.annealing import Annealing
from kdray.methods.base import Method
from kdray.methods.cross_entropy import CrossEntropy
from kdray.methods.divergence import Divergence
from kdray.methods.feature import Feature
from kdray.methods.hard_gate import HardGate
from kdray.methods.hybrid import Hybrid
from kdray.methods.imitation import Imitation
from kdray.methods.measures import Measure
from kdray.methods.on_policy import OnPolicy
from kdray.methods.online import OnlineTeacher
from kdray.methods.selective import Selective
from kdray.methods.taid import Taid
from kdray.methods.tie import Tie
from kdray.methods.token_level import TokenLevel
from kdray.model.transformer import Transformer
from kdray.schema import View

# Methods that are built alike; mypy finds one that is in no group.
OnSequences = CrossEntropyConfig | SentenceLevelConfig | InterpolationConfig | MultiHypothesisConfig
OnDistributions = TokenLevelConfig | DivergenceConfig | AnnealingConfig | TaidConfig
OnBoth = HybridConfig | HardGateConfig | SelectiveConfig
WithTeacher = TieConfig | ImitationConfig | OnPolicyConfig | FeatureConfig


def build_method(
    config: SingleMethodConfig, *, student: Transformer, teacher: OnlineTeacher | None = None
) -> Method:
    """The method that a config describes, for a student, and a teacher if it runs beside it."""
    if isinstance(config, OnSequences):
        return _on_sequences(config)
    if isinstance(config, OnDistributions):
        return _on_distributions(config)
    if isinstance(config, OnBoth):
        return _on_both(config, width=student.config.width)
    return _with_teacher(config, student=student, teacher=teacher)


def _on_sequences(config: OnSequences) -> CrossEntropy:
    match config:
        case CrossEntropyConfig():
            return CrossEntropy([View.REFERENCE], label_smoothing=config.label_smoothing)
        case SentenceLevelConfig():
            views = [View.HYPOTHESIS, *([View.REFERENCE] if config.with_reference else [])]
            return CrossEntropy(views, label_smoothing=config.label_smoothing)
        case InterpolationConfig() | MultiHypothesisConfig():
            # What they choose among the n best is chosen before training: teacher.selection.
            return CrossEntropy([View.HYPOTHESIS], label_smoothing=config.label_smoothing)
        case _:
            assert_never(config)


def _on_distributions(config: OnDistributions) -> Method:
    match config:
        case TokenLevelConfig():
            return TokenLevel(
                alpha=config.alpha,
                temperature=config.temperature,
                label_smoothing=config.label_smoothing,
                prefix=config.prefix,
            )
        case DivergenceConfig():
            return Divergence(
                Measure(config.divergence, beta=config.beta, skew=config.skew, head=config.head),
                alpha=config.alpha,
                label_smoothing=config.label_smoothing,
                prefix=config.prefix,
            )
        case AnnealingConfig():
            return Annealing(max_temperature=config.max_temperature)
        case TaidConfig():
            return Taid(
                start=config.start,
                end=config.end,
                rate=config.rate,
                momentum=config.momentum,
                prefix=config.prefix,
            )
        case _:
            assert_never(config)


def _on_both(config: OnBoth, *, width: int) -> Method:
    match config:
        case HybridConfig():
            return Hybrid(
                build_gate(config.gate, width=width),
                build_stabiliser(config.gate),
                layout=config.layout,
                temperature=config.temperature,
            )
        case HardGateConfig():
            return HardGate(
                temperature=config.temperature,
                per=config.per,
                label_smoothing=config.label_smoothing,
            )
        case SelectiveConfig():
            return Selective(
                scope=config.scope,
                share=config.share,
                queue=config.queue,
                label_smoothing=config.label_smoothing,
            )
        case _:
            assert_never(config)


def _with_teacher(
    config: WithTeacher, *, student: Transformer, teacher: OnlineTeacher | None
) -> Method:
    match config:
        case TieConfig():
            return Tie(
                alpha=config.alpha,
                k=config.k,
                passes=config.passes,
                label_smoothing=config.label_smoothing,
            )
        case ImitationConfig():
            return Imitation(
                target=config.target, base=config.base, refresh=config.refresh, student=student
            )
        case OnPolicyConfig():
            return OnPolicy(
                Measure(config.divergence, beta=config.beta),
                student_share=config.student_share,
                temperature=config.temperature,
            )
        case FeatureConfig():
            return _feature(config, student=student, teacher=teacher)
        case _:
            assert_never(config)


def _feature(
    config: FeatureConfig, *, student: Transformer, teacher: OnlineTeacher | None
) -> Feature:
    assert teacher is not None, "the config was checked for this"
    theirs, ours = teacher.transformer().config, student.config
    return Feature(
        alpha=config.alpha,
        temperature=config.temperature,
        normalise=config.states == "normalised",
        hidden_weight=config.hidden_weight,
        attention_weight=config.attention_weight,
        decay=config.decay,
        label_smoothing=config.label_smoothing,
        student_width=ours.width,
        teacher_width=theirs.width,
        student_layers=(ours.encoder_layers, ours.decoder_layers),
        teacher_layers=(theirs.encoder_layers, theirs.decoder_layers),
    )


def build_gate(config: GateConfig, *, width: int) -> gates.Gate:
    """The gate that a config describes, for students of the given width."""
    match config:
        case FixedGateConfig():
            return gates.FixedGate(config.value)
        case ScheduleGateConfig():
            cosine = config.shape == "cosine"
            return gates.ScheduleGate(start=config.start, end=config.end, cosine=cosine)
        case ScalarGateConfig():
            return gates.ScalarGate(initial=config.initial)
        case SentenceGateConfig():
            return gates.SentenceGate(width, initial=config.initial)
        case TokenGateConfig():
            return gates.TokenGate(width, initial=config.initial)
        case EntropyGateConfig():
            return gates.EntropyGate(
                threshold=config.threshold,
                width=config.width,
                high_is_token=config.high == "token",
                per_token=config.per == "token",
            )
        case ConfidenceGateConfig():
            return gates.ConfidenceGate(per_token=config.per == "token")
        case _:
            assert_never(config)


def build_stabiliser(gate: GateConfig) -> stabilisers.Stabiliser:
    """What steadies a gate; nothing for gates that do not learn."""
    if not isinstance(gate, ScalarGateConfig | SentenceGateConfig | TokenGateConfig):
        return stabilisers.Stabiliser()
    config: StabiliserConfig = gate.stabiliser
    match config:
        case NoStabiliserConfig():
            return stabilisers.Stabiliser()
        case PriorConfig():
            return stabilisers.Prior(initial=gate.initial, strength=config.strength)
        case CentredConfig():
            return stabilisers.Centred(momentum=config.momentum)
        case BilevelConfig():
            return stabilisers.Bilevel(
                every=config.every, dev_tokens=config.dev_tokens, epsilon=config.epsilon
            )
        case _:
            assert_never(config)
