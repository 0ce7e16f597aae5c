"""Curves along an axis, with their intervals, and the places where methods change places."""

import math
from collections.abc import Iterator

from kdray.reporting.along import Along, At, ChangeOfPlaces, Pair
from kdray.reporting.charts.spec import Axis, Chart, Line, Mark, Panel, Point
from kdray.reporting.figures.methods import Looks
from kdray.reporting.numbers import listed, p_value


def draw_along(along: Along, looks: Looks) -> Chart:
    """The scores of all methods at the levels of the axis."""
    lines = [
        Line(method, looks[method], [_point(at) for at in levels])
        for method, levels in along.lines.items()
    ]
    marks = list(_marks(along))
    caption = "Bands: 95 % intervals over other sentences and other seeds."
    if len(along.over) > 1:
        caption += f" In the mean over {len(along.over)} combinations of the other axes."
    if marks:
        caption += " Numbers: shown changes of places; grey: where they may lie. "
        caption += " ".join({f"{mark.sign}: {mark.told}": None for mark in marks})
    ticks = tuple(zip(along.places, along.labels, strict=True))
    return Chart(
        name=f"along-{along.axis}-{along.split}",
        title=f"Along {along.axis} on {along.split}.",
        caption=caption,
        x=Axis(along.axis, is_log=along.is_log, ticks=ticks),
        y=Axis(f"BLEU on {along.split}"),
        panels=[Panel(lines=lines, marks=marks)],
    )


def shown_crossings(along: Along) -> dict[tuple[str, str], str]:
    """The numbers of the shown changes of places, by the names of the two methods."""
    shown = [(pair.method, pair.other) for pair, _ in _crossings(along)]
    return {pair: str(number) for number, pair in enumerate(shown, start=1)}


def _crossings(along: Along) -> Iterator[tuple[Pair, ChangeOfPlaces]]:
    for pair in along.pairs:
        if pair.crossing is not None and pair.crossing.is_finding:
            yield pair, pair.crossing


def _marks(along: Along) -> Iterator[Mark]:
    for number, (pair, crossing) in enumerate(_crossings(along), start=1):
        places = listed([f"{at:.3g}" for at in crossing.at]) or "no single place"
        low = "below" if crossing.low is None else f"{crossing.low:.3g}"
        high = "above" if crossing.high is None else f"{crossing.high:.3g}"
        told = (
            f"{pair.method} and {pair.other} change places at {places} "
            f"[{low} to {high}] (p {p_value(crossing.p)})."
        )
        low_end = -math.inf if crossing.low is None else crossing.low
        high_end = math.inf if crossing.high is None else crossing.high
        for at in crossing.at:
            yield Mark(at, low_end, high_end, str(number), told)


def _point(at: At) -> Point:
    return Point(at.place, at.value, at.low, at.high)
