"""Averages of the metrics of updates, between two rows of the history."""

import time
from collections.abc import Mapping

import numpy as np


class Meter:
    """Collects the metrics of updates."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, float]] = []
        self.tokens = 0
        self.rate = 0.0
        self.started = time.perf_counter()

    def add(self, metrics: Mapping[str, float], *, rate: float, tokens: int) -> None:
        """Take the metrics of one update, its learning rate and its target tokens."""
        self.rows.append(metrics)
        self.rate = rate
        self.tokens += tokens

    def flush(self) -> dict[str, float]:
        """Means since the last flush, and the rate of tokens."""
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
        """Leave the time of a checkpoint out of the rate."""
        self.started = time.perf_counter()
