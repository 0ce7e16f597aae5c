"""Files of what metrics say of each segment: counts of kdray's own, numbers of those from outside.

A report scores resamples and slices of a test from these files alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdray.errors import DataError
from kdray.scoring.counts import NUM_COUNTS, SCORES, Floats, Segments, mean_of_segments

ENDING = ".npz"  # of counts; numbers have the ending of the translations


def write_numbers(path: Path, numbers: Sequence[float]) -> None:
    """Write a number a line, so that reading gives the same numbers."""
    path.write_text("".join(f"{number!r}\n" for number in numbers), encoding="utf-8")


def write_counts(path: Path, segments: Mapping[str, Segments]) -> None:
    """Write the counts of several metrics, each an array of [segments, counts of the metric]."""
    counts: dict[str, Any] = {name: each.counts.astype(np.int32) for name, each in segments.items()}
    np.savez_compressed(path, **counts)


def read_segments(path: Path, metric: str, *, lines: int) -> Segments:
    """What a metric counted in each of so many segments.

    Raises:
        DataError: the file is missing or damaged, or is of another number of segments.
    """
    try:
        if path.suffix == ENDING:
            segments = Segments(_counts(path, metric), SCORES[metric])
        else:
            numbers = [float(line) for line in path.read_text("utf-8").splitlines()]
            segments = mean_of_segments(numbers)
    except Exception as error:  # a damaged archive may raise anything
        told = str(error) if isinstance(error, OSError | DataError) else type(error).__name__
        raise DataError(f"{path}: cannot be read: {told}; score again") from None
    if len(segments.counts) != lines:
        raise DataError(f"{path}: of {len(segments.counts)} segments, not of {lines}; score again")
    return segments


def _counts(path: Path, metric: str) -> Floats:
    with np.load(path, allow_pickle=False) as arrays:
        counts = arrays[metric]
    if counts.dtype != np.int32 or counts.ndim != 2 or counts.shape[1] != NUM_COUNTS[metric]:
        raise DataError(f"{metric} has {counts.dtype} of shape {counts.shape}")
    if (counts < 0).any():
        raise DataError(f"{metric} has counts below 0")
    return np.asarray(counts, dtype=np.float64)
