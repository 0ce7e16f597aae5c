"""How does a gate weigh sentences? From what hybrids logged of it while they were trained.

Its histogram and its mean by source length are those of the end of training: the last tenth of what
was logged, since one update has few sentences.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from kdray.cell import Cell, shown
from kdray.reporting.charts.spec import NARROW, Axis, Bar, Chart, Line, Panel, Point
from kdray.reporting.curves import Curves, Rows
from kdray.reporting.figures.learning import draw_metric
from kdray.reporting.figures.methods import Looks

MEAN = "train/gate/mean"
HISTOGRAM = "train/gate/histogram/"  # before the lower end of a bin
BY_LENGTH = "train/gate/by_length/"  # before a range of lengths
LAST = 0.1  # share of the logged rows that are the end of training

Groups = Mapping[tuple[str, str], Sequence[Mapping[str, float]]]
"""By place and method: of each seed, the means of the gate's metrics at the end."""


def draw_gates(curves: Curves, looks: Looks) -> list[Chart]:
    """Charts of the gate; none if no student logged one."""
    gated = {cell: rows for cell, rows in curves.items() if any(MEAN in row for row in rows)}
    if not gated:
        return []
    ends = {cell: _end(rows) for cell, rows in gated.items()}
    groups: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    for cell, end in ends.items():
        groups.setdefault((cell.place, cell.method), []).append(end)
    drawn = [
        draw_metric(gated, MEAN, looks, size=NARROW, title="The mean of g during training."),
        _by_length(groups, looks),
        _histogram(groups, looks),
        _by_scenario(ends, looks),
    ]
    return [chart for chart in drawn if chart is not None and any(map(_is_filled, chart.panels))]


def _end(rows: Rows) -> dict[str, float]:
    """Of each of the gate's metrics the mean over the end of training."""
    names = {name for row in rows for name in row if name.startswith("train/gate/")}
    means = {}
    for name in sorted(names):
        values = [row[name] for row in rows if math.isfinite(row.get(name, math.nan))]
        if values:
            means[name] = fmean(values[-max(1, round(LAST * len(values))) :])
    return means


def _by_length(groups: Groups, looks: Looks) -> Chart:
    found = {name for seeds in groups.values() for end in seeds for name in end}
    names = sorted(name for name in found if name.startswith(BY_LENGTH))
    ticks = tuple((float(place), _length(name)) for place, name in enumerate(names))
    panels = [
        Panel(title=place, lines=[_line(groups, place, method, names, looks) for method in methods])
        for place, methods in _by_place(groups).items()
    ]
    return Chart(
        name="gate-by-length",
        title="g by source length, at the end of training.",
        caption="Bars: least to greatest seed.",
        x=Axis("source tokens", ticks=ticks),
        y=Axis("g", from_zero=True),
        panels=panels if names else (),
        size=NARROW,
    )


def _line(groups: Groups, place: str, method: str, names: Sequence[str], looks: Looks) -> Line:
    seeds = groups[place, method]
    values = [[end[name] for end in seeds if name in end] for name in names]
    points = [_point(float(x), each) for x, each in enumerate(values) if each]
    return Line(method, looks[method], points, whiskers=True)


def _histogram(groups: Groups, looks: Looks) -> Chart:
    panels = []
    for (place, method), seeds in groups.items():
        names = [name for name in seeds[0] if name.startswith(HISTOGRAM)]
        if not names:
            continue
        lows = [float(name.removeprefix(HISTOGRAM)) for name in names]
        shares = [fmean(end.get(name, 0.0) for end in seeds) for name in names]
        bars = [
            Bar(low, high, 100 * share, looks[method])
            for low, high, share in zip(lows, [*lows[1:], 1.0], shares, strict=True)
        ]
        panels.append(Panel(title=f"{method} · {place}", bars=bars))
    return Chart(
        name="gate-histogram",
        title="How g lies over sentences, at the end of training.",
        caption="In the mean over seeds.",
        x=Axis("g"),
        y=Axis("% of sentences", from_zero=True),
        panels=panels,
        size=NARROW,
    )


def _by_scenario(ends: Mapping[Cell, Mapping[str, float]], looks: Looks) -> Chart | None:
    """The mean at each point of the grid, for each size and length; None without a grid."""
    points = list(dict.fromkeys(cell.point for cell in ends))
    if len(points) < 2:
        return None
    values: dict[tuple[str, str], dict[int, list[float]]] = {}
    for cell, end in ends.items():
        levels = values.setdefault((cell.group, cell.method), {})
        levels.setdefault(points.index(cell.point), []).append(end[MEAN])
    groups = dict.fromkeys(group for group, _ in values)
    return Chart(
        name="gate-by-scenario",
        title="g in each scenario, at the end of training.",
        caption="Bars: least to greatest seed.",
        x=Axis("scenario", ticks=tuple((float(n), shown(p)) for n, p in enumerate(points))),
        y=Axis("g", from_zero=True),
        panels=[
            Panel(
                title=group,
                lines=[
                    Line(
                        method,
                        looks[method],
                        [_point(float(x), each) for x, each in sorted(levels.items())],
                        whiskers=True,
                    )
                    for (of, method), levels in values.items()
                    if of == group
                ],
            )
            for group in groups
        ],
        size=NARROW,
    )


def _by_place(groups: Groups) -> dict[str, list[str]]:
    places: dict[str, list[str]] = {}
    for place, method in groups:
        places.setdefault(place, []).append(method)
    return places


def _point(x: float, values: Sequence[float]) -> Point:
    if len(values) == 1:
        return Point(x, values[0])
    return Point(x, fmean(values), min(values), max(values))


def _length(name: str) -> str:
    low, high = name.removeprefix(BY_LENGTH).split("-")
    return f"{int(low)}–{int(high)}" if high else f"{int(low)} or more"


def _is_filled(panel: Panel) -> bool:
    return bool(panel.bars or any(line.points for line in panel.lines))
