"""From a method's config to the method: the one place that knows them all."""

from typing import assert_never

from kdray.config import (
    CrossEntropyConfig,
    FixedGateConfig,
    GateConfig,
    HybridConfig,
    MethodConfig,
    SentenceGateConfig,
    SentenceLevelConfig,
    TokenLevelConfig,
)
from kdray.methods.base import Method
from kdray.methods.cross_entropy import CrossEntropy
from kdray.methods.gates import CentredGate, FixedGate, Gate, PriorGate, SentenceGate
from kdray.methods.hybrid import Hybrid
from kdray.methods.token_level import TokenLevel
from kdray.schema import View


def build_method(config: MethodConfig, *, width: int) -> Method:
    """The method that a config describes, for students of the given width."""
    match config:
        case CrossEntropyConfig():
            return CrossEntropy([View.REFERENCE], label_smoothing=config.label_smoothing)
        case SentenceLevelConfig():
            views = [View.HYPOTHESIS, *([View.REFERENCE] if config.with_reference else [])]
            return CrossEntropy(views, label_smoothing=config.label_smoothing)
        case TokenLevelConfig():
            return TokenLevel(
                alpha=config.alpha,
                temperature=config.temperature,
                label_smoothing=config.label_smoothing,
                prefix=config.prefix,
            )
        case HybridConfig():
            gate = build_gate(config.gate, width=width)
            return Hybrid(gate, layout=config.layout, temperature=config.temperature)
        case _:
            assert_never(config)


def build_gate(config: GateConfig, *, width: int) -> Gate:
    """The gate that a config describes."""
    match config:
        case FixedGateConfig():
            return FixedGate(config.value)
        case SentenceGateConfig(stabiliser="prior"):
            return PriorGate(width, initial=config.initial, strength=config.strength)
        case SentenceGateConfig(stabiliser="centred"):
            return CentredGate(width, initial=config.initial, momentum=config.momentum)
        case SentenceGateConfig():
            return SentenceGate(width, initial=config.initial)
        case _:
            assert_never(config)
