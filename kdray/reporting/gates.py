"""How does the gate of a student behave? Its g for single sentences of dev, and in a few numbers.

The sentences are read by a step of the study; nothing is drawn here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kdray.cell import Cell

BINS = 10
PARTS = 5


@dataclass(frozen=True)
class GateReadings:
    """The gate of one student, and how it goes with the sentence.

    Attributes:
        cell: the student.
        left_out: pairs of dev that student or teacher could not read.
        rows: of each sentence the words of its source, the teacher's mean entropy at a token of its
            reference in nats, and g, the weight of the token-level loss.
        mean: of g.
        sd: its standard deviation.
        correlations: of g with `length` and `entropy`, by rank (Spearman); None where one side is
            the same for all sentences.
    """

    cell: Cell
    left_out: int
    rows: Sequence[tuple[int, float, float]]
    mean: float
    sd: float
    correlations: Mapping[str, float | None]

    @property
    def num_sentences(self) -> int:
        """How many were read."""
        return len(self.rows)

    @cached_property
    def by_length(self) -> Mapping[str, float]:
        """Mean g of fifths of the sentences, by the words of their sources, short ones first.

        The name of a fifth is its range of words, as `4-7`. Sentences of one length stay together,
        so where few lengths occur there are fewer than five.
        """
        words, gates = np.array([row[0] for row in self.rows]), self._gates
        shares = np.arange(1, PARTS) / PARTS
        edges = np.unique(np.quantile(words, shares, method="inverted_cdf"))
        part = np.searchsorted(edges, words, side="left")  # an edge is the last of its part
        means: dict[str, float] = {}
        for number in np.unique(part):
            inside = part == number
            low, high = words[inside].min(), words[inside].max()
            means[str(low) if low == high else f"{low}-{high}"] = float(gates[inside].mean())
        return means

    @cached_property
    def histogram(self) -> Sequence[int]:
        """Numbers of sentences in ten bins of g of equal width; the last one holds 1 too."""
        counts, _ = np.histogram(np.clip(self._gates, 0, 1), bins=BINS, range=(0, 1))
        return [int(count) for count in counts]

    def to_json(self) -> dict[str, Any]:
        """All but the single sentences, as JSON values."""
        return {
            **asdict(self.cell),
            "sentences": self.num_sentences,
            "left_out": self.left_out,
            "mean": self.mean,
            "sd": self.sd,
            "by_length": [
                {"words": words, "mean": round(mean, 6)} for words, mean in self.by_length.items()
            ],
            "histogram": list(self.histogram),
            "correlations": dict(self.correlations),
        }

    @property
    def _gates(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([row[2] for row in self.rows])
