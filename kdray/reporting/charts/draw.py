"""From a chart to SVG: one element for each panel, for a page; one file of all, for elsewhere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from markupsafe import Markup

from kdray.reporting.charts import layers
from kdray.reporting.charts.frame import Frame, draw_frame, frame_of
from kdray.reporting.charts.labels import width_of
from kdray.reporting.charts.looks import Look
from kdray.reporting.charts.markup import element, joined, path, pixels
from kdray.reporting.charts.spec import Chart, Panel

COLUMNS = 2  # of panels in a file
SVG = "http://www.w3.org/2000/svg"


def draw_panels(chart: Chart) -> list[Markup]:
    """An element `<svg>` for each panel, which a page lays out; all have the same frame.

    The page has to bring `chart_style()`. Numbers are in `<title>`, for browsers without scripts.
    """
    frame, drawn = _drawn(chart)
    size = f"0 0 {pixels(frame.size.width)} {pixels(frame.height)}"
    return [
        element(
            "svg",
            inside,
            class_="chart",
            viewBox=size,
            role="img",
            tabindex="0",
            aria_label=described(chart, panel),
        )
        for panel, inside in zip(chart.panels, drawn, strict=True)
    ]


def draw_file(chart: Chart) -> str:
    """The chart as a file of its own, which follows the reader's light or dark colours."""
    frame, drawn = _drawn(chart)
    columns = max(1, min(COLUMNS, len(chart.panels)))
    rows = math.ceil(len(chart.panels) / columns)
    width, height = columns * (frame.size.width + 16) + 16, rows * (frame.height + 16) + 40
    panels = [
        element(
            "svg",
            inside,
            x=16 + number % columns * (frame.size.width + 16),
            y=40 + number // columns * (frame.height + 16),
            width=frame.size.width,
            height=frame.height,
        )
        for number, inside in enumerate(drawn)
    ]
    drawing = element(
        "svg",
        element("title", chart.title),
        element("desc", chart.caption),
        element("style", Markup(chart_style())),
        element("rect", class_="paper", width=width, height=height),
        element("text", chart.title, class_="title", x=16, y=26),
        *panels,
        xmlns=SVG,
        class_="chart",
        viewBox=f"0 0 {pixels(width)} {pixels(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=f"{chart.title}. {chart.caption}",
    )
    return f"{drawing}\n"


@dataclass(frozen=True)
class Picture:
    """A chart that a notebook shows."""

    chart: Chart

    def _repr_svg_(self) -> str:
        return draw_file(self.chart)


def chart_style() -> str:
    """The style sheet of charts: the colours of light and dark paper, and how parts are drawn."""
    sheet = files("kdray.reporting") / "templates" / "chart.css"
    return sheet.read_text(encoding="utf-8")


def described(chart: Chart, panel: Panel) -> str:
    """What a person who does not see the chart is told."""
    parts = [chart.title, panel.title, f"{chart.y.label} by {chart.x.label}"]
    named = [line.name for line in panel.lines] + [d.name for d in panel.dots if d.scale >= 0.5]
    return ". ".join(filter(None, [*parts, ", ".join(dict.fromkeys(named))])) + "."


def swatch(look: Look) -> Markup:
    """A sample of a look, to stand in a line of text."""
    return element(
        "svg",
        element(
            "path", class_="line", d=path([(0, 6), (24, 6)]), stroke_dasharray=look.dash or None
        ),
        element("path", class_="dot", d=look.marker, transform="translate(12 6)"),
        class_=f"swatch {look.color}",
        viewBox="0 0 24 12",
        aria_hidden="true",
    )


@lru_cache(maxsize=8192)  # a report has each chart on its page and in a file
def _drawn(chart: Chart) -> tuple[Frame, list[Markup]]:
    """The frame of all panels, and what is drawn in each."""
    frame = frame_of(chart)
    return frame, [joined(*_inside(frame, chart, panel)) for panel in chart.panels]


def _inside(frame: Frame, chart: Chart, panel: Panel) -> Sequence[Markup]:
    after = max(0.0, width_of(chart.y.label) - frame.left + 8)  # the end of the y axis's name
    return (
        draw_frame(frame, chart, panel),
        layers.draw_bars(frame, chart.x, chart.y, panel.bars),
        layers.draw_front(frame, panel.front),
        layers.draw_lines(frame, panel.lines),
        layers.draw_names(frame, panel),
        layers.draw_columns(frame, chart.x, panel.lines),
        layers.draw_dots(frame, panel.dots),
        layers.draw_marks(frame, panel.marks, after=after),
    )
