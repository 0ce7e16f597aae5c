"""The frame that all panels of a chart have in common: its place, scales, grid and names."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kdray.reporting.charts.labels import EM, GAP, shortened, width_of
from kdray.reporting.charts.markup import element, joined, path
from kdray.reporting.charts.scale import Scale, scale_of
from kdray.reporting.charts.spec import Chart, Line, Panel, Point, Size

MARGIN = 8.0  # pixels around everything
TITLE = 22.0  # pixels that a panel's title takes up
ABOVE = 24.0  # pixels for the name of the y axis, and the signs of marks
BELOW = 40.0  # pixels for the values and the name of the x axis
LEADER = 18.0  # pixels between the frame and a name at the end of a line
NAMES = 0.3  # share of the width that names at the ends of lines may take up


@dataclass(frozen=True, slots=True)
class Frame:
    """Where things lie in every panel, in pixels."""

    size: Size
    height: float  # more than that of the size, if there are many names
    left: float
    right: float
    top: float
    bottom: float
    x: Scale
    y: Scale

    def at(self, point: Point) -> tuple[float, float]:
        """The pixels of a point."""
        return self.x(point.x), self.y(point.y)

    def x_inside(self, value: float) -> float:
        """The pixel of a value of x, or that of the edge that it lies beyond."""
        if value < self.x.low:
            return self.left
        return self.right if value > self.x.high else self.x(value)


def frame_of(chart: Chart) -> Frame:
    """The frame of all panels: the scales hold the values of all, and there is room for names."""
    ends = [ends_of(panel) for panel in chart.panels]
    rows = max(map(len, ends), default=0)
    top = MARGIN + ABOVE + (TITLE if any(panel.title for panel in chart.panels) else 0)
    height = max(float(chart.size.height), top + BELOW + GAP * rows)
    bottom = height - BELOW
    xs, ys = values_of(chart.panels)
    y = scale_of(ys, chart.y, start=bottom, end=top)
    left = MARGIN + max(width_of(text) for _, text in y.ticks) + 6
    names = [width_of(line.name) for panel in ends for line, _ in panel]
    room = min(max(names) + LEADER, NAMES * chart.size.width) if names else MARGIN
    right = chart.size.width - MARGIN - room
    x = scale_of(xs, chart.x, start=left + 6, end=right - 6)
    return Frame(chart.size, height, left, right, top, bottom, x, y)


def ends_of(panel: Panel) -> list[tuple[Line, Point]]:
    """The lines whose names are written, and the point that each name belongs to.

    It is the last one of the line; of a line without points, that of its longest single line.
    """
    ends = []
    for line in panel.lines:
        last = [points[-1] for points in line.singles if points]
        end = line.points[-1] if line.points else max(last, key=lambda p: p.x, default=None)
        if line.is_labelled and end is not None:
            ends.append((line, end))
    return ends


def values_of(panels: Sequence[Panel]) -> tuple[list[float], list[float]]:
    """Everything that has to have a place on the x axis, and on the y axis."""
    lines = [line for panel in panels for line in panel.lines]
    points = [point for line in lines for part in (line.points, *line.singles) for point in part]
    points += [dot.at for panel in panels for dot in panel.dots]
    bars = [bar for panel in panels for bar in panel.bars]
    xs = [point.x for point in points] + [end for bar in bars for end in (bar.left, bar.right)]
    ys = [value for p in points for value in (p.y, p.low, p.high) if value is not None]
    ys += [value for bar in bars for value in (0.0, bar.height)]
    marks = [mark.at for panel in panels for mark in panel.marks]
    return xs + marks, ys


def draw_frame(frame: Frame, chart: Chart, panel: Panel) -> Markup:
    """Grid, values beside the axes, and names."""
    middle = (frame.left + frame.right) / 2
    return joined(
        *_y_axis(frame),
        *_x_axis(frame),
        _text(panel.title, 0, MARGIN + 10, class_="title", most=frame.size.width),
        _text(chart.y.label, 0, frame.top - 12, class_="name", most=frame.size.width),
        _text(
            chart.x.label,
            middle,
            frame.height - 5,
            class_="name",
            text_anchor="middle",
            most=frame.size.width,
        ),
    )


def _y_axis(frame: Frame) -> list[Markup]:
    lines = [
        element("path", class_="grid", d=path([(frame.left, y), (frame.right, y)]))
        for y in (frame.y(place) for place, _ in frame.y.ticks)
    ]
    names = [
        _text(text, frame.left - 6, frame.y(place) + 4, class_="tick", text_anchor="end")
        for place, text in frame.y.ticks
    ]
    return lines + names


def _x_axis(frame: Frame) -> list[Markup]:
    """A short stroke at every tick; a name where it does not meet the one before."""
    parts, end = [], -EM
    for place, text in frame.x.ticks:
        x, half = frame.x(place), width_of(text) / 2
        stroke = [(x, frame.bottom), (x, frame.bottom + 4)]
        parts.append(element("path", class_="stroke", d=path(stroke)))
        if x - half >= end:
            parts.append(_text(text, x, frame.bottom + 17, class_="tick", text_anchor="middle"))
            end = x + half + EM / 2
    return parts


def _text(
    text: str,
    x: float,
    y: float,
    *,
    class_: str,
    text_anchor: str | None = None,
    most: float | None = None,
) -> Markup:
    said = text if most is None else shortened(text, most)
    return element("text", said, class_=class_, x=x, y=y, text_anchor=text_anchor)
