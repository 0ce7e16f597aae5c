"""The learning rate of each update."""

import math
from typing import assert_never

from kdray.config.training import (
    ConstantCooldownConfig,
    CosineConfig,
    InverseSqrtConfig,
    ScheduleConfig,
)

HIGHEST = 5e-3
PER_WIDTH = 0.32


def default_peak(width: int) -> float:
    """The default peak for a model of width D: 0.32/D, at most 0.005.

    Adam's best rate for hidden weights is proportional to 1/D (Yang et al. 2022). At D = 512 the
    default is 6.3e-4; for Transformers of this width 5e-4 to 7e-4 is usual.
    """
    return min(HIGHEST, PER_WIDTH / width)


def learning_rate(config: ScheduleConfig, *, step: int, updates: int, width: int) -> float:
    """Rate of update number `step`, counted from 1, of `updates`, for a model of this width."""
    peak = config.peak or default_peak(width)
    if step <= config.warmup:
        return peak * step / config.warmup
    match config:
        case InverseSqrtConfig():
            return peak * math.sqrt(config.warmup / step)
        case CosineConfig():
            progress = (step - config.warmup) / (updates - config.warmup)
            shape = (1 + math.cos(math.pi * progress)) / 2
            return peak * (config.floor + (1 - config.floor) * shape)
        case ConstantCooldownConfig():
            start = config.cooldown_start(updates)
            if step <= start:
                return peak
            progress = (step - start) / (updates - start)
            if config.shape == "linear":
                return peak * (1 - progress)
            return peak * (1 - math.sqrt(progress))
        case _:
            assert_never(config)
