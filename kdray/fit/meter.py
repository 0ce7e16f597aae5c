"""Averages the metrics of the updates between two rows of the history."""

import time
from collections.abc import Mapping

import numpy as np


class Meter:
    """Collects the metrics of updates until they are averaged."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, float]] = []
        self.tokens = 0
        self.rate = 0.0
        self.started = time.perf_counter()

    def add(self, metrics: Mapping[str, float], *, rate: float, tokens: int) -> None:
        """Add the metrics of an update, its learning rate and its number of target tokens."""
        self.rows.append(metrics)
        self.rate = rate
        self.tokens += tokens

    def flush(self) -> dict[str, float]:
        """Means since the last flush, the latest learning rate, and target tokens per second."""
        seconds = time.perf_counter() - self.started
        names = dict.fromkeys(name for row in self.rows for name in row)
        row = {
            f"train/{name}": float(np.mean([row[name] for row in self.rows if name in row]))
            for name in names
        }
        row |= {"train/learning_rate": self.rate, "train/tokens_per_second": self.tokens / seconds}
        self.rows, self.tokens = [], 0
        self.started = time.perf_counter()
        return row

    def restart_clock(self) -> None:
        """Leave the time before now, which a checkpoint took, out of tokens per second."""
        self.started = time.perf_counter()
