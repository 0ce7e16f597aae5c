"""Numbers of a metric from outside, one for each segment: their files, and a test of differences.

The test is the paired bootstrap of `significance`, for a metric that is the mean over segments.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sacrebleu.significance import _compute_p_value

from kdray.errors import DataError
from kdray.scoring.significance import BOOTSTRAP_SEED, Comparison

Numbers = npt.NDArray[np.float64]


def write_segments(path: Path, numbers: Sequence[float]) -> None:
    """Write a number a line, so that reading gives the same numbers."""
    path.write_text("".join(f"{number!r}\n" for number in numbers), encoding="utf-8")


def read_segments(path: Path, *, lines: int) -> Numbers:
    """Read what `write_segments` wrote.

    Raises:
        DataError: it is missing or damaged, or has not so many lines.
    """
    try:
        numbers = np.array([float(line) for line in path.read_text("utf-8").splitlines()])
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}; score again") from None
    if len(numbers) != lines:
        raise DataError(f"{path}: {len(numbers)} scores for {lines} segments; score again")
    return numbers


def compare_means(baseline: Numbers, system: Numbers, *, samples: int) -> Comparison:
    """Compare two systems' numbers for the same segments by paired bootstrap resampling.

    The resamples are those that BLEU's test draws. Equal means in every resample give p = 1.
    """
    size = (samples, len(baseline))
    drawn = np.random.default_rng(BOOTSTRAP_SEED).choice(len(baseline), size=size, replace=True)
    gains = system - baseline
    differences = gains[drawn].mean(1)
    difference, spreads = float(gains.mean()), np.abs(differences)
    p_value = _compute_p_value(spreads - spreads.mean(), abs(difference)) if spreads.any() else 1.0
    low, high = np.quantile(differences, [0.025, 0.975])
    return Comparison(
        baseline_score=float(baseline.mean()),
        system_score=float(system.mean()),
        difference=difference,
        p_value=float(p_value),
        ci_low=float(low),
        ci_high=float(high),
    )
