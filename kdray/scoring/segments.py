"""Numbers of a metric from outside, one for each segment: their files, and a test of differences.

The test is a paired bootstrap, as that of BLEU in `significance`, for a metric that is a mean.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

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

    Two-sided: how often a resample is as far from the difference as that is from none (Efron &
    Tibshirani 1993, section 16.4), where sacrebleu's test centres the absolute differences. The
    resamples are those that BLEU's test draws.
    """
    size = (samples, len(baseline))
    drawn = np.random.default_rng(BOOTSTRAP_SEED).choice(len(baseline), size=size, replace=True)
    gains = system - baseline
    differences = gains[drawn].mean(1)
    difference = float(gains.mean())
    as_far = int((np.abs(differences - difference) >= abs(difference)).sum())
    low, high = np.quantile(differences, [0.025, 0.975])
    return Comparison(
        baseline_score=float(baseline.mean()),
        system_score=float(system.mean()),
        difference=difference,
        p_value=(as_far + 1) / (samples + 1),
        ci_low=float(low),
        ci_high=float(high),
    )
