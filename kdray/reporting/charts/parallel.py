"""Parallel coordinates: an upright axis for each quantity, and lines through all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from kdray.reporting.charts.labels import shortened
from kdray.reporting.charts.looks import Look
from kdray.reporting.charts.markup import element, joined, path
from kdray.reporting.charts.scale import Scale, scale_of, shown
from kdray.reporting.charts.spec import Axis

TOP: Final = 46.0  # pixels above the axes, for two rows of names
BOTTOM: Final = 26.0  # below them, for what has no value there
HEIGHT: Final = 330.0
GAP: Final = 112.0  # between two axes
LEFT: Final = 30.0
RIGHT: Final = 96.0  # for the values of the last axis


@dataclass(frozen=True, slots=True)
class Strand:
    """A line through the axes.

    Attributes:
        name: what it is; shown on hovering, with all of its values.
        places: by the names of axes; one that is missing is drawn through the foot of its axis.
        look: its colour.
        is_faint: whether it stands behind the others.
        is_strong: whether it stands before the others.
        told: what else hovering tells.
    """

    name: str
    places: Mapping[str, float]
    look: Look
    is_faint: bool = False
    is_strong: bool = False
    told: str = ""


def draw_parallel(
    axes: Mapping[Axis, Sequence[float]], strands: Sequence[Strand], *, label: str
) -> Markup:
    """One `<svg>`, as wide as its axes need; `label` is what a person who does not see it is told.

    Each axis has room for the values that are given with it, and for those of all strands. What a
    strand lacks lies at the foot, where a dash stands for "does not count".
    """
    width = LEFT + GAP * (len(axes) - 1) + RIGHT
    scales = [_scale(axis, ends, strands) for axis, ends in axes.items()]
    ordered = sorted(strands, key=lambda each: (each.is_strong, not each.is_faint))
    return element(
        "svg",
        *(_axis(number, scale) for number, scale in enumerate(scales)),
        *(_strand(strand, list(axes), scales) for strand in ordered),
        *(_words(n, axis, scale) for n, (axis, scale) in enumerate(zip(axes, scales, strict=True))),
        class_="chart parallel",
        viewBox=f"0 0 {width:.0f} {HEIGHT:.0f}",
        role="img",
        tabindex="0",
        aria_label=label,
    )


def _scale(axis: Axis, ends: Sequence[float], strands: Sequence[Strand]) -> Scale:
    values = [*ends, *(place for place, _ in axis.ticks)]
    values += [each.places[axis.label] for each in strands if axis.label in each.places]
    return scale_of(values, axis, start=HEIGHT - BOTTOM - 22, end=TOP, num_ticks=5)


def _x(number: int) -> float:
    return LEFT + GAP * number


def _axis(number: int, scale: Scale) -> Markup:
    x = _x(number)
    strokes = [
        element("path", class_="stroke", d=path([(x, scale(place)), (x + 4, scale(place))]))
        for place, _ in scale.ticks
    ]
    stem = element("path", class_="stroke", d=path([(x, TOP), (x, HEIGHT - BOTTOM)]))
    return joined(stem, *strokes)


def _words(number: int, axis: Axis, scale: Scale) -> Markup:
    """The name of an axis and its values, which stand before the strands. Names take two rows."""
    x, is_first = _x(number), number == 0
    ticks = [(scale(place) + 4, text) for place, text in scale.ticks]
    return joined(
        *(
            element("text", shortened(text, GAP - 18), class_="tick label", x=x + 6, y=y)
            for y, text in (*ticks, (HEIGHT - BOTTOM + 4, "–"))
        ),
        element(
            "text",
            shortened(axis.label, 2 * GAP - 20),
            class_="name",
            x=4 if is_first else x,
            y=TOP - 26 if number % 2 else TOP - 10,
            text_anchor="start" if is_first else "middle",
        ),
    )


def _strand(strand: Strand, axes: Sequence[Axis], scales: Sequence[Scale]) -> Markup:
    points, said = [], [strand.name]
    for number, (axis, scale) in enumerate(zip(axes, scales, strict=True)):
        value = strand.places.get(axis.label)
        points.append((_x(number), HEIGHT - BOTTOM if value is None else scale(value)))
        if value is not None:
            said.append(f"{axis.label}: {dict(axis.ticks).get(value, shown(value))}")
    said += [strand.told] if strand.told else []
    weight = "faint" if strand.is_faint else "strong" if strand.is_strong else "strand"
    drawn = path(points)
    return element(
        "g",
        element("title", "\n".join(said)),
        element("path", class_="wide", d=drawn),
        element("path", class_=weight, d=drawn, stroke_dasharray=strand.look.dash or None),
        class_=f"h {strand.look.color}",
    )
