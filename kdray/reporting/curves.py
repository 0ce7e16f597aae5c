"""How did training go? Logged rows of single runs, gathered into one series for each method.

Nothing is drawn here; `figures.learning` does.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from kdray.cell import Cell

Rows = Sequence[Mapping[str, float]]
Curves = Mapping[Cell, Rows]
"""Model -> logged rows. A row holds `step` and any of the metrics, whose names hold a slash."""

FIRST_METRICS = ("dev/bleu", "dev/chrf", "dev/loss", "train/loss", "train/gate/mean")


@dataclass(frozen=True)
class Series:
    """One metric of one method, or of the teacher, at one size, point and length.

    Mean, least and greatest value over seeds stand at the steps that every seed logged. Where a
    seed has steps of its own (another one ended early), its own line is in `alone`.
    """

    size: str  # with point and length, if there are several
    method: str
    num_seeds: int
    steps: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    alone: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]  # (steps, values) of each seed


def metric_names(curves: Curves) -> list[str]:
    """Metrics that some run logged: those that a reader looks for first, then by name.

    A metric of several parts, such as a histogram's bins (`train/gate/histogram/0.3`), is left to
    the tracker: a curve of each would bury the others. So are metrics of the averaged weights:
    they have one point.
    """
    keys = {key for rows in curves.values() for row in rows for key in row}
    drawn = {k for k in keys if 1 <= k.count("/") < 3 and not k.startswith("dev/averaged/")}
    return [name for name in FIRST_METRICS if name in drawn] + sorted(drawn - {*FIRST_METRICS})


def series_of(curves: Curves, metric: str) -> list[Series]:
    """The metric's series in the order of the runs; runs that did not log it are left out.

    Of two rows with the same step the later counts; values that are not finite are left out.
    """
    groups: dict[tuple[str, str], list[dict[float, float]]] = {}
    for cell, rows in curves.items():
        points = {row["step"]: row[metric] for row in rows if metric in row}
        finite = {step: value for step, value in points.items() if math.isfinite(value)}
        if finite:
            groups.setdefault((cell.place, cell.method), []).append(finite)
    return [_series(size, method, seeds) for (size, method), seeds in groups.items()]


def count_not_finite(curves: Curves, metric: str) -> int:
    """How many logged values of the metric are NaN or infinite and cannot be drawn."""
    values = [row[metric] for rows in curves.values() for row in rows if metric in row]
    return sum(not math.isfinite(value) for value in values)


def _series(size: str, method: str, seeds: Sequence[Mapping[float, float]]) -> Series:
    common = sorted(set(seeds[0]).intersection(*seeds[1:]))
    alone = []
    for points in seeds:
        if points.keys() != set(common):
            steps = tuple(sorted(points))
            alone.append((steps, tuple(points[step] for step in steps)))
    values = [[points[step] for points in seeds] for step in common]
    return Series(
        size=size,
        method=method,
        num_seeds=len(seeds),
        steps=tuple(common),
        mean=tuple(map(fmean, values)),
        low=tuple(map(min, values)),
        high=tuple(map(max, values)),
        alone=tuple(alone),
    )
