"""What does quality cost? BLEU against decoding speed, size and training time, with the front."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kdray.cell import shown
from kdray.reporting.charts.spec import NARROW, Axis, Chart, Dot, Panel, Point, pareto
from kdray.reporting.figures.methods import Looks
from kdray.reporting.numbers import count, duration
from kdray.reporting.table import Row, Table

FACTOR = 8  # between the least and the greatest value, from which on an axis is logarithmic


@dataclass(frozen=True)
class Cost:
    """Something that quality is bought with: a number of each row, and how it is told."""

    name: str
    label: str
    of: Callable[[Row], float | None]
    told: Callable[[float], str]
    less_is_better: bool = True


SPEED = Cost(
    "decoding speed",
    "decoding speed (target tokens/s)",
    lambda row: row.tokens_per_second,
    lambda value: f"{count(value)} tokens/s",
    less_is_better=False,
)
SIZE = Cost("size", "parameters", lambda row: row.num_params, lambda n: f"{count(n)} parameters")
UNITS = (("h", 3600.0), ("min", 60.0), ("s", 1.0))


def _training(rows: Sequence[Row]) -> Cost:
    """Training time in the largest unit of which the longest training has one."""
    longest = max((row.train_seconds or 0.0 for row in rows), default=0.0)
    unit, seconds = next((each for each in UNITS if longest >= each[1]), UNITS[-1])
    return Cost(
        "training time",
        f"training time ({unit})",
        lambda row: None if row.train_seconds is None else row.train_seconds / seconds,
        lambda time: f"{duration(time * seconds)} of training",
    )


def draw_trades(table: Table, looks: Looks) -> list[Chart]:
    """A chart for each cost that differs between the models of a table."""
    charts = []
    for cost in (SPEED, SIZE, _training(table.rows)):
        known = [(row, value) for row in table.rows if (value := cost.of(row))]
        if len({value for _, value in known}) > 1:
            charts.append(_draw(table, cost, known, looks))
    return charts


def _draw(table: Table, cost: Cost, known: Sequence[tuple[Row, float]], looks: Looks) -> Chart:
    groups = list(dict.fromkeys(row.group for row, _ in known if not row.is_teacher))
    dots = [_dot(row, value, cost, groups, looks) for row, value in known]
    front = pareto(dots, less_is_better=cost.less_is_better)
    ahead = [dot for dot in dots if dot in front]  # named first, as room permits
    values = [value for _, value in known]
    caption = "Bars: standard deviation over seeds. Dotted: the Pareto front."
    if missing := len(table.rows) - len(known):
        caption += f" Not measured: {missing} of {len(table.rows)} models."
    return Chart(
        name=f"quality-{cost.name}-{'-'.join(label for _, label in table.point)}-{table.split}",
        title=f"BLEU against {cost.name}.",
        caption=caption,
        x=Axis(cost.label, is_log=max(values) > FACTOR * min(values)),
        y=Axis(f"BLEU on {', '.join(filter(None, [shown(table.point), table.split]))}"),
        panels=[
            Panel(
                dots=[*ahead, *(dot for dot in dots if dot not in front)],
                front=[dot.at for dot in front],
            )
        ],
        size=NARROW,
    )


def _dot(row: Row, value: float, cost: Cost, groups: Sequence[str], looks: Looks) -> Dot:
    bleu, sd = row.bleu.mean, row.bleu.sd
    low, high = (None, None) if sd is None else (bleu - sd, bleu + sd)
    name = row.method if row.is_teacher or len(groups) == 1 else f"{row.method} · {row.group}"
    spread = "" if sd is None else f" ± {sd:.2f}"
    larger = 0.0 if row.is_teacher else groups.index(row.group) / max(1, len(groups) - 1)
    return Dot(
        name=name,
        look=looks[row.method],
        at=Point(value, bleu, low, high),
        told=f"{bleu:.2f}{spread} BLEU\n{cost.told(value)}",
        scale=1.0 + 0.5 * larger,
    )
