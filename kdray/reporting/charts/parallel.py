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


def draw_parallel(axes: Sequence[Axis], strands: Sequence[Strand], *, label: str) -> Markup:
    """One `<svg>`, as wide as its axes need; `label` is what a person who does not see it is told.

    The name of each axis is the key of its values. What a strand lacks lies at the foot, where a
    dash stands for "does not count".
    """
    width = LEFT + GAP * (len(axes) - 1) + RIGHT
    scales = [_scale(axis, strands) for axis in axes]
    ordered = sorted(strands, key=lambda each: (each.is_strong, not each.is_faint))
    return element(
        "svg",
        *(
            _axis(number, axis, scale)
            for number, (axis, scale) in enumerate(zip(axes, scales, strict=True))
        ),
        *(_strand(strand, axes, scales) for strand in ordered),
        class_="chart parallel",
        viewBox=f"0 0 {width:.0f} {HEIGHT:.0f}",
        role="img",
        tabindex="0",
        aria_label=label,
    )


def _scale(axis: Axis, strands: Sequence[Strand]) -> Scale:
    values = [each.places[axis.label] for each in strands if axis.label in each.places]
    values += [place for place, _ in axis.ticks]
    return scale_of(values, axis, start=HEIGHT - BOTTOM - 22, end=TOP, num_ticks=5)


def _x(number: int) -> float:
    return LEFT + GAP * number


def _axis(number: int, axis: Axis, scale: Scale) -> Markup:
    x, high = _x(number), TOP - 26 if number % 2 else TOP - 10
    names = [
        element("text", shortened(text, GAP - 18), class_="tick", x=x + 6, y=scale(place) + 4)
        for place, text in scale.ticks
    ]
    strokes = [
        element("path", class_="stroke", d=path([(x, scale(place)), (x + 4, scale(place))]))
        for place, _ in scale.ticks
    ]
    anchor = "start" if number == 0 else "middle"
    return joined(
        element("path", class_="stroke", d=path([(x, TOP), (x, HEIGHT - BOTTOM)])),
        *strokes,
        *names,
        element(
            "text",
            shortened(axis.label, 2 * GAP - 20),
            class_="name",
            x=x - (LEFT - 4 if number == 0 else 0),
            y=high,
            text_anchor=anchor,
        ),
        element("text", "–", class_="tick", x=x + 6, y=HEIGHT - BOTTOM + 4),
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
