"""How does a gate weigh sentences: by their length, by the teacher's entropy, in each scenario?"""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

from kdray.cell import shown
from kdray.reporting.charts.spec import NARROW, Axis, Bar, Chart, Dot, Line, Panel, Point
from kdray.reporting.figures.methods import Looks
from kdray.reporting.gates import BINS, PARTS, GateReadings

G = Axis("g", from_zero=True)
CLOUD = 0.4  # size of a sentence's dot


def draw_gate(readings: GateReadings, looks: Looks) -> list[Chart]:
    """Three charts of one student: g by length, by entropy, and its histogram."""
    where = "-".join([readings.cell.method, readings.cell.place])
    rows = [row for row in readings.rows if all(map(math.isfinite, row))]
    missing = len(readings.rows) - len(rows)
    by_length = [(float(words), gate) for words, _, gate in rows]
    by_entropy = [(entropy, gate) for _, entropy, gate in rows]
    said = f" Not drawn: {missing} that are not finite." if missing else ""
    return [
        Chart(
            name=f"gate-length-{where}",
            title="g by source length.",
            caption=_correlation(readings, "length") + said,
            x=Axis("source words"),
            y=G,
            panels=[_cloud(readings, by_length, _of_fifths(readings), looks)],
            size=NARROW,
        ),
        Chart(
            name=f"gate-entropy-{where}",
            title="g by the teacher's entropy.",
            caption=_correlation(readings, "entropy") + said,
            x=Axis("mean entropy at a token (nats)"),
            y=G,
            panels=[_cloud(readings, by_entropy, _means(by_entropy), looks)],
            size=NARROW,
        ),
        _histogram(readings, looks, where),
    ]


def draw_gates_by_scenario(every: Sequence[GateReadings], looks: Looks) -> Chart | None:
    """The mean of g at each point of the grid, a panel for each size; None without a grid."""
    points = list(dict.fromkeys(each.cell.point for each in every))
    if len(points) < 2:
        return None
    groups = dict.fromkeys(each.cell.group for each in every)
    return Chart(
        name="gate-by-scenario",
        title="g in each scenario.",
        caption="Bars: standard deviation over sentences.",
        x=Axis("scenario", ticks=tuple((float(n), shown(p)) for n, p in enumerate(points))),
        y=G,
        panels=[
            Panel(
                title=group,
                lines=[
                    Line(method, looks[method], levels, whiskers=True)
                    for method in dict.fromkeys(each.cell.method for each in every)
                    if (levels := _levels(every, points, group, method))
                ],
            )
            for group in groups
        ],
        size=NARROW,
    )


def _levels(
    every: Sequence[GateReadings], points: Sequence[object], group: str, method: str
) -> list[Point]:
    here = [each for each in every if (each.cell.group, each.cell.method) == (group, method)]
    return [
        Point(points.index(each.cell.point), each.mean, each.mean - each.sd, each.mean + each.sd)
        for each in sorted(here, key=lambda each: points.index(each.cell.point))
    ]


def _cloud(
    readings: GateReadings,
    sentences: Sequence[tuple[float, float]],
    means: Sequence[Point],
    looks: Looks,
) -> Panel:
    """A dot for each sentence, and a line through the means of fifths."""
    look = looks[readings.cell.method]
    return Panel(
        dots=[Dot("", look, Point(*sentence), scale=CLOUD) for sentence in sentences],
        lines=[Line("mean of g", look, means, is_labelled=False)],
    )


def _of_fifths(readings: GateReadings) -> list[Point]:
    """The means by length, each in the middle of its lengths."""
    ranges = [[float(side) for side in name.split("-")] for name in readings.by_length]
    means = readings.by_length.values()
    return [Point(fmean(each), mean) for each, mean in zip(ranges, means, strict=True)]


def _means(sentences: Sequence[tuple[float, float]]) -> list[Point]:
    """Of each fifth of the sentences, in the order of x, the mean of x and of g."""
    ordered, many = sorted(sentences), len(sentences)
    edges = [number * many // PARTS for number in range(PARTS + 1)]
    parts = [ordered[low:high] for low, high in pairwise(edges) if low < high]
    return [Point(fmean(x for x, _ in part), fmean(gate for _, gate in part)) for part in parts]


def _histogram(readings: GateReadings, looks: Looks, where: str) -> Chart:
    look, many = looks[readings.cell.method], max(1, readings.num_sentences)
    left_out = f" {readings.left_out} pairs are left out." if readings.left_out else ""
    return Chart(
        name=f"gate-histogram-{where}",
        title="How g lies over sentences.",
        caption=f"{readings.num_sentences} dev pairs: {readings.mean:.3f} ± {readings.sd:.3f}."
        f"{left_out}",
        x=Axis("g"),
        y=Axis("% of sentences", from_zero=True),
        panels=[
            Panel(
                bars=[
                    Bar(number / BINS, (number + 1) / BINS, 100 * count / many, look)
                    for number, count in enumerate(readings.histogram)
                ]
            )
        ],
        size=NARROW,
    )


def _correlation(readings: GateReadings, with_what: str) -> str:
    found = readings.correlations[with_what]
    if found is None:
        return "No rank correlation: one side is the same for all sentences."
    return f"Rank correlation (Spearman): {found:+.2f}.".replace("-", "−")
