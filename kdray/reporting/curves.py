"""How did training go? Logged rows of single runs, gathered into one series for each method.

Nothing is drawn here; `plots` does.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Self

from kdray.scoring.result import size_and_length

Rows = Sequence[Mapping[str, float]]
Curves = Mapping[str, Rows]
"""Run name -> logged rows. A row holds `step` and any of the metrics, whose names hold a slash."""

FIRST_METRICS = ("dev/bleu", "dev/chrf", "dev/loss", "train/loss", "train/gate/mean")


@dataclass(frozen=True)
class RunName:
    """The name of a student's run among the curves: `size/method/seed-1`.

    One of several lengths ends with its own, as in `size/method/seed-1/updates-400`.
    """

    size: str
    method: str
    seed: int
    budget: int | None = None

    def __str__(self) -> str:
        name = f"{self.size}/{self.method}/seed-{self.seed}"
        return name if self.budget is None else f"{name}/updates-{self.budget}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """The inverse of `str`; None for the name of another run, such as the teacher's."""
        size, _, rest = name.partition("/")
        method, _, end = rest.partition("/seed-")
        seed, length, budget = end.partition("/updates-")
        if not size or not method or not seed.removeprefix("-").isdecimal():
            return None
        if length and not budget.isdecimal():
            return None
        return cls(size, method, int(seed), int(budget) if length else None)


@dataclass(frozen=True)
class Series:
    """One metric of one method at one size, and one length if there are several.

    Mean, least and greatest value over seeds stand at the steps that every seed logged. Where a
    seed has steps of its own (another one ended early), its own line is in `alone`.
    """

    size: str  # with the length, if there are several; empty: a run that is no student's
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
    found = {k for k in keys if 1 <= k.count("/") < 3 and not k.startswith("dev/averaged/")}
    return [name for name in FIRST_METRICS if name in found] + sorted(found - {*FIRST_METRICS})


def series_of(curves: Curves, metric: str) -> list[Series]:
    """The metric's series in the order of the runs; runs that did not log it are left out.

    Of two rows with the same step the later counts; values that are not finite are left out.
    """
    groups: dict[tuple[str, str], list[dict[float, float]]] = {}
    for name, rows in curves.items():
        run = RunName.parse(name)
        points = {row["step"]: row[metric] for row in rows if metric in row}
        finite = {step: value for step, value in points.items() if math.isfinite(value)}
        if finite:
            group = (size_and_length(run.size, run.budget), run.method) if run else ("", name)
            groups.setdefault(group, []).append(finite)
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
