"""Plots of the learning curves, and of quality over decoding speed, as PNG and SVG files.

Each method has the same colour in all plots (Okabe and Ito's palette, which colour-blind readers
can tell apart), and lines are labelled at their ends. Equal input gives equal bytes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from kdray.reporting.curves import (
    Curves,
    Series,
    count_not_finite,
    metric_names,
    series_of,
)
from kdray.reporting.table import Row, Table

BASELINE_COLOR: Final = "#000000"
NO_STUDENT_COLOR: Final = "#767676"  # for the teacher, and for runs that are not students
PALETTE: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES: Final = ("-", "--", "-.", ":")  # for methods beyond the palette
MARKERS: Final = ("o", "s", "^", "D", "v", "P")  # one for each size
LABEL_GAP: Final = 13.0  # points (1/72 inch) between two labels
STYLE: Final[Mapping[str, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": "#333333",
    "grid.color": "#e6e6e6",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "lines.linewidth": 1.8,
    "text.parse_math": False,  # a name with two dollar signs is not a formula
    "svg.hashsalt": "kdray",
    "figure.dpi": 100,
    "savefig.dpi": 160,
}


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


def draw_plots(
    folder: Path, *, curves: Curves, tables: Sequence[Table], baseline: str, main_beam: int
) -> list[Plot]:
    """Draw one plot for each logged metric, and quality over speed for each split.

    The folder is created; pictures of an earlier report are removed from it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("*.png"), *folder.glob("*.svg")):
        old.unlink()
    main = [table for table in tables if table.beam == main_beam]
    styles = method_styles(_students(curves, main), baseline=baseline)
    for name in _no_students(curves, main):
        styles.setdefault(name, LineStyle(NO_STUDENT_COLOR, "-"))
    plots: list[Plot] = []
    with matplotlib.style.context(["default", dict(STYLE)]):  # not the user's own style
        for table in main:
            if any(row.tokens_per_second for row in table.rows):
                plots.append(_draw_trade(folder, table, styles, number=len(plots) + 1))
        for metric in metric_names(curves):
            lines = series_of(curves, metric)
            if lines:
                plot = _draw_metric(folder, metric, lines, styles, number=len(plots) + 1)
                not_finite = count_not_finite(curves, metric)
                if not_finite:
                    text = f"{plot.caption} Not drawn: {not_finite} values that are not finite."
                    plot = replace(plot, caption=text)
                plots.append(plot)
    return plots


def method_styles(methods: Sequence[str], *, baseline: str) -> dict[str, LineStyle]:
    """A style for each method, by its place in the list; the baseline is black."""
    styles = {baseline: LineStyle(BASELINE_COLOR, "-")}
    others = [method for method in dict.fromkeys(methods) if method != baseline]
    for place, method in enumerate(others):
        dash = DASHES[place // len(PALETTE) % len(DASHES)]
        styles[method] = LineStyle(PALETTE[place % len(PALETTE)], dash)
    return styles


def _students(curves: Curves, tables: Sequence[Table]) -> list[str]:
    rows = [row for table in tables for row in table.rows]
    methods = [row.method for row in rows if not row.is_teacher]
    return methods + [cell.method for cell in curves if not cell.is_teacher]


def _no_students(curves: Curves, tables: Sequence[Table]) -> list[str]:
    teachers = [row.method for table in tables for row in table.rows if row.is_teacher]
    return teachers + [cell.method for cell in curves if cell.is_teacher]


def _draw_metric(
    folder: Path,
    metric: str,
    lines: Sequence[Series],
    styles: Mapping[str, LineStyle],
    *,
    number: int,
) -> Plot:
    figure = _panels(metric, lines, styles)
    caption = f"{metric} by update."
    if any(series.num_seeds > 1 for series in lines):
        caption += " Line: mean over seeds; band: least to greatest seed."
    if any(series.alone and series.num_seeds > 1 for series in lines):
        caption += " Thin lines: single seeds, where not every seed has these steps."
    if metric.startswith("train/"):
        caption += " Methods minimise different losses: compare shapes, not heights."
    return _save(figure, folder / f"{number:02d}-{_stem(metric)}", title=metric, caption=caption)


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
        axes.set_title(size or "Other runs")
        axes.set_xlabel("updates")
        axes.set_ylabel(metric)
        axes.tick_params(labelleft=True)
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    figure.draw_without_rendering()  # only this fixes the common scale
    for size, axes in panels.items():
        ends = [(series.method, *_end(series)) for series in lines if series.size == size]
        _label(axes, [(name, x, y, styles[name].color) for name, x, y in ends])
    return figure


def _draw_series(axes: Axes, series: Series, style: LineStyle) -> None:
    axes.fill_between(
        series.steps, series.low, series.high, color=style.color, alpha=0.16, linewidth=0
    )
    marker = "o" if len(series.steps) == 1 else ""
    axes.plot(
        series.steps, series.mean, color=style.color, linestyle=style.dash, marker=marker, zorder=3
    )
    for steps, values in series.alone:
        axes.plot(steps, values, color=style.color, linestyle=style.dash, linewidth=0.7, alpha=0.8)


def _end(series: Series) -> tuple[float, float]:
    """The point that the label belongs to: the end of the mean, or of the longest single line."""
    if series.steps:
        return series.steps[-1], series.mean[-1]
    steps, values = max(series.alone, key=lambda line: line[0][-1])
    return steps[-1], values[-1]


def _draw_trade(
    folder: Path, table: Table, styles: Mapping[str, LineStyle], *, number: int
) -> Plot:
    """BLEU over decoding speed: up and to the right is better."""
    measured = [row for row in table.rows if row.tokens_per_second]
    sizes = list(dict.fromkeys(row.group for row in measured if not row.is_teacher))
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    labels = []
    for row in measured:
        color = styles[row.method].color
        marker = "*" if row.is_teacher else MARKERS[sizes.index(row.group) % len(MARKERS)]
        speed = row.tokens_per_second or 0.0
        axes.errorbar(
            speed,
            row.bleu.mean,
            yerr=row.bleu.sd,
            color=color,
            marker=marker,
            markersize=13 if row.is_teacher else 8,
            capsize=3,
            elinewidth=1.2,
            linestyle="none",
            zorder=3,
        )
        labels.append((_point_name(row, sizes), speed, row.bleu.mean, color))
    axes.margins(0.12)
    axes.set_title(table.title)
    axes.set_xlabel("decoding speed (target tokens/s)")
    axes.set_ylabel("BLEU")
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    figure.draw_without_rendering()
    _label(axes, labels)
    caption = f"BLEU on {table.title} over decoding speed. Bars: standard deviation over seeds."
    unmeasured = len(table.rows) - len(measured)
    if unmeasured:
        caption += f" Not shown, for want of a measured speed: {unmeasured} of {len(table.rows)}."
    stem = f"{number:02d}-{_stem(f'quality-speed-{table.split}')}"
    title = f"Quality and speed, {table.title}"
    return _save(figure, folder / stem, title=title, caption=caption)


def _point_name(row: Row, sizes: Sequence[str]) -> str:
    return row.method if row.is_teacher or len(sizes) == 1 else f"{row.method} ({row.group})"


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

    Neighbours that would be too close form a block around the mean of their heights.
    """
    blocks: list[list[float]] = []
    for height in heights:
        blocks.append([height])
        while len(blocks) > 1 and _top(blocks[-2], gap) + gap > _bottom(blocks[-1], gap):
            last = blocks.pop()
            blocks[-1] += last
    return [_bottom(block, gap) + place * gap for block in blocks for place in range(len(block))]


def _bottom(block: Sequence[float], gap: float) -> float:
    return sum(block) / len(block) - (len(block) - 1) * gap / 2


def _top(block: Sequence[float], gap: float) -> float:
    return sum(block) / len(block) + (len(block) - 1) * gap / 2


def _stem(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in name)


def _save(figure: Figure, stem: Path, *, title: str, caption: str) -> Plot:
    FigureCanvasAgg(figure)
    png, svg = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.svg")
    figure.savefig(png, metadata={"Software": None})
    figure.set_layout_engine("none")  # the layout that the PNG has, without computing it again
    figure.savefig(svg, metadata={"Date": None, "Creator": None})
    return Plot(title=title, caption=caption, png=png, svg=svg)
