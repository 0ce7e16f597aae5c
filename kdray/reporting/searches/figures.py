"""The figures of a search: parallel coordinates, importances, curves of trials, Pareto fronts."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kdray.config.dimensions import Choice, Integer, LogInteger, LogUniform
from kdray.reporting.charts.looks import Look
from kdray.reporting.charts.parallel import Strand, draw_parallel
from kdray.reporting.charts.ranked import draw_ranked
from kdray.reporting.charts.spec import NARROW, WIDE, Axis, Chart, Dot, Line, Panel, Point
from kdray.reporting.searches.facts import SearchFacts, score_of, shown, told
from kdray.statistics.trials import TrialResult

BEST, GOOD, REST, STOPPED = Look("c2"), Look("accent"), Look("soft"), Look("soft")
FEW = range(1, 9)  # whole numbers, each of which is written beside its axis
SHARE = 4  # the best of so many trials are in colour


@dataclass(frozen=True)
class SearchFigures:
    """What is drawn of a search. Importances are by objective."""

    parallel: Markup
    importances: dict[str, Markup]
    curves: Chart | None
    fronts: Sequence[Chart]


def draw_search(facts: SearchFacts) -> SearchFigures:
    """Draw all of it."""
    return SearchFigures(
        parallel=_parallel(facts),
        importances={
            metric: draw_ranked(
                {_counted(facts, path): share for path, share in shares.items()},
                label=f"Importance of each dimension for {metric}",
            )
            for metric, shares in facts.importances.items()
        },
        curves=_curves(facts),
        fronts=[_front(facts, number) for number in range(1, len(facts.config.objectives))]
        if any(trial.scores for trial in facts.trials)
        else [],
    )


def _parallel(facts: SearchFacts) -> Markup:
    config, axes = facts.config, dict[Axis, tuple[float, ...]]()
    ticks = {
        path: {_key(value): number for number, value in enumerate(dimension.values)}
        for path, dimension in config.dimensions.items()
        if isinstance(dimension, Choice)
    }
    for path, dimension in config.dimensions.items():
        named: tuple[tuple[float, str], ...] = ()
        if isinstance(dimension, Choice):
            named = tuple((float(n), shown(v)) for n, v in enumerate(dimension.values))
        elif isinstance(dimension, Integer | LogInteger) and len(dimension.every or ()) in FEW:
            named = tuple((float(v), str(v)) for v in dimension.every or ())
        is_log = isinstance(dimension, LogUniform | LogInteger)
        ends = () if isinstance(dimension, Choice) else (dimension.low, dimension.high)
        axes[Axis(path, is_log=is_log, ticks=named)] = ends
    axes |= {Axis(each.metric): () for each in config.objectives}
    strands = []
    good = len(facts.trials) / SHARE
    for number, trial in enumerate(facts.trials, start=1):
        if not trial.scores:
            continue
        places = {
            path: float(ticks[path][_key(value)] if path in ticks else value)
            for path, value in trial.values.items()
        }
        is_best = trial is facts.winner
        look = BEST if is_best else GOOD if number <= good and trial.is_finished else REST
        strands.append(
            Strand(
                name=f"trial {number}, {facts.state(trial)}",
                places=places | {metric: value for metric, value in trial.scores.items()},
                look=STOPPED if trial.is_stopped else look,
                is_faint=trial.is_stopped,
                is_strong=is_best,
            )
        )
    label = f"Parallel coordinates of {len(strands)} trials over {', '.join(config.dimensions)}"
    return draw_parallel(axes, strands, label=label)


def _counted(facts: SearchFacts, path: str) -> str:
    """The name of a dimension, with the number of trials where that is not all of them."""
    scored = [trial for trial in facts.trials if trial.scores]
    there = sum(path in trial.values for trial in scored)
    return path if there == len(scored) else f"{path} ({there} trials)"


def _key(value: object) -> str:
    return repr(value)


def _curves(facts: SearchFacts) -> Chart | None:
    """All trials; those that were stopped are faint, and the winner has a colour of its own."""
    groups: dict[str, list[list[Point]]] = {"stopped early": [], "finished": []}
    lines = []
    for trial in facts.trials:
        points = [Point(step, score) for step, score in trial.curve]
        if points and trial is facts.winner:
            lines.append(Line("winner", BEST, points))
        elif points:
            groups["stopped early" if trial.is_stopped else "finished"].append(points)
    looks = {"stopped early": STOPPED, "finished": GOOD}
    thin = [Line(name, looks[name], (), singles=each) for name, each in groups.items() if each]
    lines = [*thin, *lines]
    every = [points for line in lines for points in (line.points, *line.singles)]
    if not any(len(points) > 1 for points in every):
        return None
    metric = facts.config.first.metric
    return Chart(
        name="search-curves",
        title=f"{metric} of all trials by update.",
        caption="Grey: trials that were stopped early, up to where they were.",
        x=Axis("updates"),
        y=Axis(metric),
        panels=[Panel(lines=lines)],
        size=WIDE,
    )


def _front(facts: SearchFacts, number: int) -> Chart:
    """The first objective against another one, with the front of these two."""
    first, other = facts.config.objectives[0], facts.config.objectives[number]
    scored = [(n, t) for n, t in enumerate(facts.trials, start=1) if t.scores]
    dots = [_dot(facts, n, trial, other.metric) for n, trial in scored]
    finished = [
        (trial.scores[other.metric], trial.scores[first.metric])
        for _, trial in scored
        if trial.is_finished
    ]
    front: list[Point] = []
    for x, y in sorted(finished, key=lambda at: (other.sign * -at[0], first.sign * -at[1])):
        if not front or first.sign * y > first.sign * front[-1].y:
            front.append(Point(x, y))
    xs = [trial.scores[other.metric] for _, trial in scored]
    return Chart(
        name=f"search-front-{other.metric}",
        title=f"{first.metric} against {other.metric}.",
        caption="Dotted: the Pareto front of finished trials. Small: trials that were stopped.",
        x=Axis(
            "milliseconds a sentence" if other.metric == "latency" else other.metric,
            is_log=min(xs) > 0 and max(xs) > 8 * min(xs),
        ),
        y=Axis(first.metric),
        panels=[_panel(dots, front, less_is_better=first.less_is_better)],
        size=NARROW,
    )


def _panel(dots: Sequence[Dot], front: Sequence[Point], *, less_is_better: bool) -> Panel:
    """With the front as a stair, which is drawn where more is better, or else as a line."""
    ordered = sorted(front, key=lambda point: point.x)
    if not less_is_better:
        return Panel(dots=dots, front=ordered)
    line = Line("front", Look("soft", dash="3 3"), ordered, is_labelled=False)
    return Panel(dots=dots, lines=[line])


def _dot(facts: SearchFacts, number: int, trial: TrialResult, metric: str) -> Dot:
    first = facts.config.first.metric
    is_winner, on_front = trial is facts.winner, number in facts.front
    said = [
        f"{each.metric} {score_of(each.metric, trial.scores[each.metric])}"
        for each in facts.config.objectives
    ]
    return Dot(
        name="winner" if is_winner else f"trial {number}",
        look=BEST if is_winner else GOOD if on_front else REST,
        at=Point(trial.scores[metric], trial.scores[first]),
        told="\n".join([*said, told(trial.values)]),
        scale=0.6 if trial.is_stopped else 1.2 if is_winner else 1.0,
        is_labelled=is_winner,
    )
