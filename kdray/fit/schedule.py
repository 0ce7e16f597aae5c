"""The learning rate of each update."""

import math
from typing import assert_never

from kdray.config import (
    ConstantCooldownConfig,
    CosineConfig,
    InverseSqrtConfig,
    ScheduleConfig,
)


def learning_rate(config: ScheduleConfig, *, step: int, updates: int) -> float:
    """Rate of update number `step`, counted from 1, of `updates`."""
    if step <= config.warmup:
        return config.peak * step / config.warmup
    match config:
        case InverseSqrtConfig():
            return config.peak * math.sqrt(config.warmup / step)
        case CosineConfig():
            progress = (step - config.warmup) / (updates - config.warmup)
            shape = (1 + math.cos(math.pi * progress)) / 2
            return config.peak * (config.floor + (1 - config.floor) * shape)
        case ConstantCooldownConfig():
            start = config.cooldown_start(updates)
            if step <= start:
                return config.peak
            progress = (step - start) / (updates - start)
            if config.shape == "linear":
                return config.peak * (1 - progress)
            return config.peak * (1 - math.sqrt(progress))
        case _:
            assert_never(config)
