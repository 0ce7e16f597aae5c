"""Plots of the learning curves, and of quality over decoding speed, as PNG and SVG files.

Each method has the same colour in all plots (Okabe and Ito's palette, which colour-blind readers
can tell apart), and lines are labelled at their ends. Equal input gives equal bytes.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from scipy.optimize import isotonic_regression

from kdray.reporting.curves import Curves, Series, count_not_finite, metric_names, series_of
from kdray.reporting.facts import StudyFacts
from kdray.reporting.table import Table

BASELINE_COLOR: Final = "#000000"
TEACHER_COLOR: Final = "#767676"
PALETTE: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES: Final = ("-", "--", "-.", ":")  # for methods beyond the palette
MARKERS: Final = ("o", "s", "^", "D", "v", "P")  # one for each size
LABEL_GAP: Final = 13.0  # points (1/72 inch) between two labels
STYLE: Final = Path(__file__).with_name("templates") / "plots.mplstyle"


@dataclass(frozen=True)
class Plot:
    """One picture in two formats, and words that describe it."""

    title: str
    caption: str
    png: Path
    svg: Path


@dataclass(frozen=True)
class LineStyle:
    """How a method is drawn in every plot."""

    color: str
    dash: str


@dataclass(frozen=True)
class Drawing:
    """A plot before it is saved; its file is named for `name`."""

    name: str
    title: str
    caption: str
    figure: Figure


def draw_plots(
    folder: Path, *, curves: Curves, tables: Sequence[Table], study: StudyFacts
) -> list[Plot]:
    """Draw quality over speed for each split, and one plot for each logged metric.

    The folder is created; pictures of an earlier report are removed from it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("*.png"), *folder.glob("*.svg")):
        old.unlink()
    main = [table for table in tables if table.beam == study.main_beam]
    cells = [*(row.cell for table in main for row in table.rows), *curves]
    students = [cell.method for cell in cells if not cell.is_teacher]
    teachers = {cell.method: LineStyle(TEACHER_COLOR, "-") for cell in cells if cell.is_teacher}
    styles = teachers | method_styles(students, baseline=study.baseline)
    with matplotlib.style.context(["default", STYLE]):  # not the user's own style
        measured = [table for table in main if any(row.tokens_per_second for row in table.rows)]
        drawings = [_draw_trade(table, styles) for table in measured]
        for metric in metric_names(curves):
            if lines := series_of(curves, metric):
                not_finite = count_not_finite(curves, metric)
                drawings.append(_draw_metric(metric, lines, styles, not_finite=not_finite))
        return [_save(folder, number, each) for number, each in enumerate(drawings, start=1)]


def method_styles(methods: Sequence[str], *, baseline: str) -> dict[str, LineStyle]:
    """A style for each method, by its place in the list; the baseline is black."""
    styles = {baseline: LineStyle(BASELINE_COLOR, "-")}
    others = [method for method in dict.fromkeys(methods) if method != baseline]
    for place, method in enumerate(others):
        dash = DASHES[place // len(PALETTE) % len(DASHES)]
        styles[method] = LineStyle(PALETTE[place % len(PALETTE)], dash)
    return styles


def _draw_metric(
    metric: str, lines: Sequence[Series], styles: Mapping[str, LineStyle], *, not_finite: int
) -> Drawing:
    figure = _panels(metric, lines, styles)
    caption = f"{metric} by update."
    if any(series.num_seeds > 1 for series in lines):
        caption += " Line: mean over seeds; band: least to greatest seed."
    if any(series.alone and series.num_seeds > 1 for series in lines):
        caption += " Thin lines: single seeds, where not every seed has these steps."
    if metric.startswith("train/"):
        caption += " Methods minimise different losses: compare shapes, not heights."
    if not_finite:
        caption += f" Not drawn: {not_finite} values that are not finite."
    return Drawing(metric, metric, caption, figure)


def _panels(metric: str, lines: Sequence[Series], styles: Mapping[str, LineStyle]) -> Figure:
    """One panel for each size, all with the same scale, so that sizes can be compared."""
    sizes = list(dict.fromkeys(series.size for series in lines))
    columns = min(2, len(sizes))
    rows = math.ceil(len(sizes) / columns)
    figure = Figure(figsize=(5.6 * columns, 3.6 * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for unused in grid[len(sizes) :]:
        unused.remove()
    panels = dict(zip(sizes, grid[: len(sizes)], strict=True))
    for series in lines:
        _draw_series(panels[series.size], series, styles[series.method])
    for size, axes in panels.items():
        axes.set(title=size or "Other runs", xlabel="updates", ylabel=metric)
        axes.tick_params(labelleft=True)
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    figure.draw_without_rendering()  # only this fixes the common scale
    for size, axes in panels.items():
        here = [series for series in lines if series.size == size]
        _label(axes, [(each.method, *_end(each), styles[each.method].color) for each in here])
    return figure


def _draw_series(axes: Axes, series: Series, style: LineStyle) -> None:
    line: dict[str, Any] = {"color": style.color, "linestyle": style.dash}
    axes.fill_between(
        series.steps, series.low, series.high, color=style.color, alpha=0.16, linewidth=0
    )
    marker = "o" if len(series.steps) == 1 else ""
    axes.plot(series.steps, series.mean, marker=marker, zorder=3, **line)
    for steps, values in series.alone:
        axes.plot(steps, values, linewidth=0.7, alpha=0.8, **line)


def _end(series: Series) -> tuple[float, float]:
    """The point that the label belongs to: the end of the mean, or of the longest single line."""
    if series.steps:
        return series.steps[-1], series.mean[-1]
    steps, values = max(series.alone, key=lambda line: line[0][-1])
    return steps[-1], values[-1]


def _draw_trade(table: Table, styles: Mapping[str, LineStyle]) -> Drawing:
    """BLEU over decoding speed: up and to the right is better."""
    measured = [row for row in table.rows if row.tokens_per_second]
    sizes = list(dict.fromkeys(row.group for row in measured if not row.is_teacher))
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    labels = []
    for row in measured:
        color = styles[row.method].color
        name = row.method if row.is_teacher or len(sizes) == 1 else f"{row.method} ({row.group})"
        marker = "*" if row.is_teacher else MARKERS[sizes.index(row.group) % len(MARKERS)]
        speed = row.tokens_per_second or 0.0
        bleu, size = row.bleu, 13 if row.is_teacher else 8
        axes.errorbar(
            speed, bleu.mean, bleu.sd, fmt=marker, color=color, ms=size, elinewidth=1.2, zorder=3
        )
        labels.append((name, speed, bleu.mean, color))
    axes.margins(0.12)
    axes.set(title=table.title, xlabel="decoding speed (target tokens/s)", ylabel="BLEU")
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    figure.draw_without_rendering()
    _label(axes, labels)
    caption = f"BLEU on {table.title} over decoding speed. Bars: standard deviation over seeds."
    unmeasured = len(table.rows) - len(measured)
    if unmeasured:
        caption += f" Not shown, for want of a measured speed: {unmeasured} of {len(table.rows)}."
    name, title = f"quality-speed-{table.split}", f"Quality and speed, {table.title}"
    return Drawing(name, title, caption, figure)


def _label(axes: Axes, points: Sequence[tuple[str, float, float, str]]) -> None:
    """Write each name of (name, x, y, colour) at the right edge, with a line to its point.

    Names that would overlap are moved apart. The figure must have been drawn, which fixes the
    limits of its axes.
    """
    figure = axes.figure
    assert isinstance(figure, Figure)
    gap = figure.dpi / 72 * LABEL_GAP / axes.get_window_extent().height  # as a share of the height
    to_axes = axes.transData + axes.transAxes.inverted()
    ordered = sorted(points, key=lambda point: point[2])
    heights = [float(to_axes.transform((x, y))[1]) for _, x, y, _ in ordered]
    for (name, x, y, color), height in zip(ordered, spread_apart(heights, gap), strict=True):
        axes.annotate(
            name,
            xy=(x, y),
            xycoords="data",
            xytext=(1.03, height),
            textcoords="axes fraction",
            color=color,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.6, "alpha": 0.6},
        )


def spread_apart(heights: Sequence[float], gap: float) -> list[float]:
    """Move ascending heights as little as possible so that they are at least `gap` apart.

    Heights less their places' gaps have to ascend: this is isotonic regression.
    """
    gaps = gap * np.arange(len(heights))
    moved: list[float] = (isotonic_regression(heights - gaps).x + gaps).tolist()
    return moved


def _save(folder: Path, number: int, drawing: Drawing) -> Plot:
    stem = f"{number:02d}-" + re.sub(r"[^\w.-]", "-", drawing.name)
    png, svg = folder / f"{stem}.png", folder / f"{stem}.svg"
    FigureCanvasAgg(drawing.figure)
    drawing.figure.savefig(png, metadata={"Software": None})
    # The SVG has the layout of the PNG, without computing it again.
    drawing.figure.set_layout_engine("none")
    drawing.figure.savefig(svg, metadata={"Date": None, "Creator": None})
    return Plot(drawing.title, drawing.caption, png, svg)
