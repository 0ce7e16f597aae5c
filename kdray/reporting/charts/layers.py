"""What lies inside a frame: bands and lines, dots, bars, and marked places on the x axis.

Whatever tells its numbers is a group of class `h` (hovered over) that begins with a `<title>`.
"""

from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from kdray.reporting.charts.frame import LEADER, Frame, ends_of
from kdray.reporting.charts.labels import (
    GAP,
    Box,
    place_beside,
    shortened,
    spread_apart,
    width_of,
)
from kdray.reporting.charts.markup import element, joined, path, pixels
from kdray.reporting.charts.scale import shown
from kdray.reporting.charts.spec import Axis, Bar, Dot, Line, Mark, Panel, Point
from kdray.reporting.charts.thin import some_of, thinned

FEW = 24  # points of a line up to which each has a marker


def draw_lines(frame: Frame, lines: Sequence[Line]) -> Markup:
    """Bands below all lines, then each line with its markers."""
    bands = [_band(frame, line) for line in lines if not line.whiskers]
    return joined(*bands, *(_line(frame, line) for line in lines))


def draw_names(frame: Frame, panel: Panel) -> Markup:
    """The name of each line to the right of its end, moved apart where they would overlap."""
    ends = sorted(ends_of(panel), key=lambda end: frame.y(end[1].y))
    ys = spread_apart(
        [frame.y(point.y) for _, point in ends], GAP, low=frame.top, high=frame.bottom
    )
    x, most = frame.right + LEADER - 3, frame.size.width - frame.right - LEADER
    parts = []
    for (line, point), y in zip(ends, ys, strict=True):
        leader = path([frame.at(point), (x - 8, y), (x - 3, y)])
        parts += [
            element("path", class_=f"leader {line.look.color}", d=leader),
            element("text", shortened(line.name, most), class_="label", x=x, y=y + 4),
        ]
    return joined(*parts)


def draw_columns(frame: Frame, x_axis: Axis, lines: Sequence[Line]) -> Markup:
    """At every place that lines have points: what they are there, shown on hovering."""
    there = sorted({point.x for line in lines for point in line.points})
    told = some_of(there, frame.size.told)
    xs = [frame.x(place) for place in told]
    edges = [frame.left, *((one + other) / 2 for one, other in pairwise(xs)), frame.right]
    names = dict(x_axis.ticks)
    values = [(line.name, {point.x: point for point in line.points}) for line in lines]
    parts = []
    for number, place in enumerate(told):
        here = [(name, points[place]) for name, points in values if place in points]
        here.sort(key=lambda pair: -pair[1].y)
        said = [f"{x_axis.label}: {names.get(place, shown(place))}"]
        said += [f"{_value(point)}  {name}" for name, point in here]
        guide = path([(xs[number], frame.top), (xs[number], frame.bottom)])
        zone = Box(edges[number], frame.top, edges[number + 1], frame.bottom)
        parts.append(
            element(
                "g",
                element("title", "\n".join(said)),
                _rectangle(zone, class_="zone"),
                element("path", class_="guide", d=guide),
                class_="h",
            )
        )
    return joined(*parts)


def draw_bars(frame: Frame, x_axis: Axis, y_axis: Axis, bars: Sequence[Bar]) -> Markup:
    """Bars from zero, with a hair between neighbours."""
    parts = []
    for bar in bars:
        left, right = frame.x(bar.left) + 0.5, frame.x(bar.right) - 0.5
        box = Box(left, frame.y(bar.height), right, frame.y(0))
        said = (
            f"{x_axis.label} {shown(bar.left)} to {shown(bar.right)}\n"
            f"{shown(bar.height)} {y_axis.label}"
        )
        parts.append(
            element(
                "g",
                element("title", said),
                _rectangle(box, class_="bar"),
                class_=f"h {bar.look.color}",
            )
        )
    return joined(*parts)


def draw_dots(frame: Frame, dots: Sequence[Dot]) -> Markup:
    """Dots with their bars; names of those that have room, the first dots first."""
    cloud = [dot for dot in dots if dot.scale < 0.5]
    single = [dot for dot in dots if dot.scale >= 0.5]
    named = [dot for dot in single if dot.is_labelled]
    inside = Box(frame.left - 2, frame.top - 8, frame.size.width, frame.bottom)
    taken = [_around(frame, dot) for dot in single if not dot.is_labelled]
    boxes = place_beside(
        [(*frame.at(dot.at), dot.name) for dot in named], frame=inside, taken=taken
    )
    names = [
        element("text", dot.name, class_="label", x=box.left, y=box.bottom - 3)
        for dot, box in zip(named, boxes, strict=True)
        if box is not None
    ]
    ordered = sorted(single, key=lambda dot: (dot.at.x, dot.at.y))
    return joined(
        *_cloud(frame, cloud),
        *(_dot(frame, dot) for dot in ordered),
        *names,
    )


def draw_front(frame: Frame, front: Sequence[Point]) -> Markup:
    """The line along the best of all: a stair, since nothing is known of what lies between two."""
    if len(front) < 2:
        return Markup("")
    stairs = [frame.at(front[0])]
    for point, following in pairwise(front):
        higher, lower = sorted((point, following), key=lambda each: -each.y)
        stairs += [(frame.x(higher.x), frame.y(lower.y)), frame.at(following)]
    return element("path", class_="front", d=path(stairs))


def draw_marks(frame: Frame, marks: Sequence[Mark], *, after: float) -> Markup:
    """Intervals as shades, places as lines, and signs above the frame to the right of `after`."""
    ordered = sorted(marks, key=lambda mark: mark.at)
    width = max((width_of(mark.sign) for mark in marks), default=0.0) + 10
    centres = spread_apart(
        [frame.x_inside(mark.at) for mark in ordered],
        width + 2,
        low=frame.left + after + width / 2,
        high=frame.right - width / 2,
    )
    parts = []
    for mark, centre in zip(ordered, centres, strict=True):
        x, top = frame.x_inside(mark.at), frame.top
        shade = Box(frame.x_inside(mark.low), top, frame.x_inside(mark.high), frame.bottom)
        badge = Box(centre - width / 2, top - 23, centre + width / 2, top - 7)
        line = path([(centre, top - 7), (x, top), (x, frame.bottom)])
        parts.append(
            element(
                "g",
                element("title", mark.told),
                _rectangle(shade, class_="shade"),
                element("path", class_="mark", d=line),
                _rectangle(badge, class_="badge", rx=8),
                element(
                    "text", mark.sign, class_="sign", x=centre, y=top - 11, text_anchor="middle"
                ),
                class_="h",
            )
        )
    return joined(*parts)


def _band(frame: Frame, line: Line) -> Markup:
    """The area between low and high, as far as every point has both."""
    points = thinned([p for p in line.points if p.low is not None], frame.size.points)
    if len(points) < 2:
        return Markup("")
    lower = [(frame.x(p.x), frame.y(p.y if p.low is None else p.low)) for p in points]
    upper = [(frame.x(p.x), frame.y(p.y if p.high is None else p.high)) for p in points]
    shape = path([*lower, *reversed(upper)], closed=True)
    return element("path", class_=f"band {line.look.color}", d=shape)


def _line(frame: Frame, line: Line) -> Markup:
    dash, most = line.look.dash or None, frame.size.points
    points = thinned(line.points, most)
    parts = [
        element("path", class_="thin", d=path([frame.at(p) for p in thinned(single, most)]))
        for single in line.singles
        if single
    ]
    if line.whiskers or len(points) == 1:
        parts += [_whisker(frame, point) for point in points]
    if len(points) > 1:
        drawn = path([frame.at(point) for point in points])
        parts.append(element("path", class_="line", d=drawn, stroke_dasharray=dash))
    if len(points) <= FEW:
        marker = line.look.marker
        parts += [_marker_at(*frame.at(point), marker, 0.8, class_="dot") for point in points]
    return element("g", *parts, class_=line.look.color)


def _dot(frame: Frame, dot: Dot) -> Markup:
    told = [dot.name, dot.told] if dot.told else [dot.name, _value(dot.at)]
    return element(
        "g",
        element("title", "\n".join(told)),
        _whisker(frame, dot.at),
        _marker_at(*frame.at(dot.at), dot.look.marker, dot.scale, class_="dot"),
        class_=f"h {dot.look.color}",
    )


def _cloud(frame: Frame, dots: Sequence[Dot]) -> list[Markup]:
    """All dots of one look as one path, whose strokes of no length are round."""
    places: dict[str, list[str]] = {}
    for dot in dots:
        x, y = map(pixels, frame.at(dot.at))
        places.setdefault(dot.look.color, []).append(f"M{x} {y}h0")
    return [
        element("path", class_=f"cloud {color}", d="".join(each)) for color, each in places.items()
    ]


def _marker_at(x: float, y: float, shape: str, scale: float, *, class_: str) -> Markup:
    moved = f"translate({pixels(x)} {pixels(y)})" + ("" if scale == 1 else f" scale({scale:.2g})")
    return element("path", class_=class_, d=shape, transform=moved)


def _whisker(frame: Frame, point: Point) -> Markup:
    if point.low is None or point.high is None:
        return Markup("")
    x, low, high = frame.x(point.x), frame.y(point.low), frame.y(point.high)
    ends = "".join(f"M{pixels(x - 3)} {pixels(y)}h6" for y in (low, high))
    return element("path", class_="whisker", d=path([(x, low), (x, high)]) + ends)


def _around(frame: Frame, dot: Dot) -> Box:
    x, y = frame.at(dot.at)
    return Box(x - 4, y - 4, x + 4, y + 4)


def _rectangle(box: Box, *, class_: str, rx: float | None = None) -> Markup:
    return element(
        "rect",
        class_=class_,
        x=box.left,
        y=box.top,
        width=max(0.0, box.right - box.left),
        height=max(0.0, box.bottom - box.top),
        rx=rx,
    )


def _value(point: Point) -> str:
    if point.low is None or point.high is None:
        return shown(point.y)
    return f"{shown(point.y)} ({shown(point.low)} to {shown(point.high)})"
