"""Learning curves: one chart for each logged metric, with a panel for each size and scenario."""

from collections.abc import Sequence
from dataclasses import replace

from kdray.cell import Cell
from kdray.reporting.charts.spec import SMALL, WIDE, Axis, Chart, Line, Panel, Point, Size
from kdray.reporting.curves import Curves, Rows, Series, count_not_finite, metric_names, series_of
from kdray.reporting.figures.methods import Looks

RESULT = ("dev/bleu", "dev/loss")  # shown; other metrics are for those who look for a fault


def draw_learning(curves: Curves, looks: Looks) -> tuple[list[Chart], list[Chart]]:
    """Charts of what tells how well training went, and smaller ones of all other metrics.

    Teachers have charts of their own: they are trained for longer, and their scores are higher.
    What every model logged once only, such as a single validation at the end, is no curve.
    """
    students = {cell: rows for cell, rows in curves.items() if not cell.is_teacher}
    teachers = _each_once({cell: rows for cell, rows in curves.items() if cell.is_teacher})
    result: list[Chart] = []
    others: list[Chart] = []
    for metric in metric_names(curves):
        drawn, size = (result, WIDE) if metric in RESULT else (others, SMALL)
        for of, part in (("", students), (" of the teacher", teachers)):
            chart = draw_metric(part, metric, looks, size=size, of=of)
            lines = [line for panel in chart.panels for line in panel.lines]
            if any(len(points) > 1 for line in lines for points in (line.points, *line.singles)):
                drawn.append(chart)
    return result, others


def _each_once(curves: Curves) -> Curves:
    """Without the places of models that stand at another place too; one at all has no place."""
    once: dict[Cell, Rows] = {}
    for cell, rows in curves.items():
        if rows not in once.values():
            once[cell] = rows
    if len(once) == 1 < len(curves):
        return {replace(cell, point=()): rows for cell, rows in once.items()}
    return once


def draw_metric(
    curves: Curves, metric: str, looks: Looks, *, size: Size = WIDE, of: str = ""
) -> Chart:
    """One metric over updates: the mean over seeds of each method, with the range of its seeds.

    `of` says whose it is, after the name of the metric.
    """
    series = series_of(curves, metric)
    places = list(dict.fromkeys(each.size for each in series))
    return Chart(
        name=f"learning-{metric}{of}",
        title=f"{metric}{of} by update.",
        caption=_caption(metric, series, count_not_finite(curves, metric)),
        x=Axis("updates"),
        y=Axis(metric),
        panels=[
            Panel(
                title=place,
                lines=[_line(each, looks) for each in series if each.size == place],
            )
            for place in places
        ],
        size=size,
    )


def _line(series: Series, looks: Looks) -> Line:
    columns = (series.steps, series.mean, series.low, series.high)
    several = series.num_seeds > 1
    return Line(
        name=series.method,
        look=looks[series.method],
        points=[
            Point(x, y, low, high) if several else Point(x, y)
            for x, y, low, high in zip(*columns, strict=True)
        ],
        singles=[[Point(x, y) for x, y in zip(*alone, strict=True)] for alone in series.alone],
    )


def _caption(metric: str, series: Sequence[Series], not_finite: int) -> str:
    several = any(each.num_seeds > 1 for each in series)
    parts = ["Line: mean over seeds; band: least to greatest seed."] if several else []
    if any(each.alone and each.num_seeds > 1 for each in series):
        parts.append("Thin lines: single seeds, where not every seed has these steps.")
    if metric == "train/loss":
        parts.append("Methods minimise different losses: compare shapes, not heights.")
    if not_finite:
        parts.append(f"Not drawn: {not_finite} values that are not finite.")
    return " ".join(parts)
