"""What does quality cost where a student is used? BLEU of each form against what it takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kdray.cell import shown
from kdray.reporting.charts.looks import PLAIN
from kdray.reporting.charts.spec import NARROW, Axis, Chart, Dot, Panel, Point, pareto
from kdray.reporting.figures.methods import Looks
from kdray.reporting.figures.trade import FACTOR
from kdray.reporting.forms import FormFacts, megabytes


@dataclass(frozen=True)
class _Cost:
    name: str
    label: str
    of: Callable[[FormFacts], float]
    told: Callable[[FormFacts], str]
    less_is_better: bool = True


_COSTS = (
    _Cost(
        "latency",
        "one sentence alone, median (ms)",
        lambda form: form.latency_p50_ms,
        lambda form: f"{form.latency_p50_ms:.1f} ms, p95 {form.latency_p95_ms:.1f} ms",
    ),
    _Cost(
        "throughput",
        "many at once (sentences/s)",
        lambda form: form.sentences_per_second,
        lambda form: f"{form.sentences_per_second:.0f} sentences/s",
        less_is_better=False,
    ),
    _Cost(
        "size on disk",
        "on disk (MB)",
        lambda form: form.bytes / 1e6,
        lambda form: megabytes(form.bytes),
    ),
    _Cost(
        "memory",
        "memory (MB)",
        lambda form: form.memory_bytes / 1e6,
        lambda form: megabytes(form.memory_bytes),
    ),
)


def draw_forms(forms: Sequence[FormFacts], split: str, looks: Looks) -> list[Chart]:
    """A chart for each cost that differs between forms of one point of the grid."""
    known = [form for form in forms if split in form.bleu]
    return [
        _draw(known, cost, split, looks)
        for cost in _COSTS
        if len({cost.of(form) for form in known}) > 1
    ]


def _draw(forms: Sequence[FormFacts], cost: _Cost, split: str, looks: Looks) -> Chart:
    point = forms[0].cell.point
    dots = [
        Dot(
            name=f"{form.cell.method} · {form.form}",
            look=looks.get(form.cell.method, PLAIN),
            at=Point(cost.of(form), form.bleu[split]),
            told=f"{form.name}\n{form.bleu[split]:.2f} BLEU\n{cost.told(form)}",
        )
        for form in forms
    ]
    front = pareto(dots, less_is_better=cost.less_is_better)
    values = [cost.of(form) for form in forms]
    is_log = min(values) > 0 and max(values) > FACTOR * min(values)
    place = ", ".join(filter(None, [shown(point), split]))
    return Chart(
        name=f"forms-{cost.name}-{'-'.join(label for _, label in point)}-{split}",
        title=f"BLEU against {cost.name}.",
        caption="Each dot is a student of one seed in one form. Dotted: the Pareto front.",
        x=Axis(cost.label, is_log=is_log),
        y=Axis(f"BLEU on {place}"),
        panels=[
            Panel(
                dots=[*front, *(dot for dot in dots if dot not in front)],
                front=[dot.at for dot in front],
            )
        ],
        size=NARROW,
    )
