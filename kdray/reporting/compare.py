"""All comparisons of a report: which are made, what each says, and the correction over all.

Every two methods are compared: those of which a report speaks (the baseline and the method that dev
chose, each with all others) are picked with the luck of the same seeds, so the correction counts
all that could have been picked. Dev chooses and is not tested.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from kdray.reporting.along import Along, Pair
from kdray.reporting.difference import Difference
from kdray.reporting.samples import Samples
from kdray.reporting.table import Table
from kdray.statistics.agreement import CURVES, human_agreement
from kdray.statistics.contrast import Comparison, Estimate, compare
from kdray.statistics.multiplicity import LEVEL, correct
from kdray.statistics.power import NextRuns, what_next
from kdray.statistics.seeds import Runs

MAIN = "bleu"  # the metric that decides; axes are followed in it

Chosen = Mapping[str, str]  # by size and length in words: the method that dev chose


def differences_of(samples: Samples) -> Iterator[Difference]:
    """The differences of one table in one metric, each once and none corrected yet.

    They are told of the other method beside the baseline.
    """
    baseline = samples.table.baseline
    for group in dict.fromkeys(group for group, _ in samples.cells):
        runs = samples.runs(group)
        for first, second in combinations(sorted(runs, key=baseline.__eq__), 2):
            yield _difference(samples, group, (first, second), runs)


def _difference(
    samples: Samples, group: str, pair: tuple[str, str], runs: Mapping[str, Runs]
) -> Difference:
    metric, table = samples.metric, samples.table
    method, other = pair
    compared = compare(runs[method], runs[other])
    value = runs[method].mean.observed - runs[other].mean.observed
    return Difference(
        group=group,
        method=method,
        other=other,
        metric=metric,
        value=value,
        higher_is_better=table.prefers_higher(metric),
        agreement=str(human_agreement(metric, value)) if metric in CURVES else "",
        **_error_of(compared, is_tested=not table.is_dev),
    )


def _error_of(compared: Comparison, *, is_tested: bool) -> dict[str, Any]:
    """Interval and p, or why there are none."""
    if isinstance(compared, Estimate):
        low, high = compared.interval
        return {"low": low, "high": high, "p_uncorrected": compared.p if is_tested else None}
    alone = compared.these_models
    return {"reason": compared.reason, "p_of_models": alone.p if alone and is_tested else None}


def corrected(
    tables: Sequence[Table], alongs: Sequence[Along]
) -> tuple[list[Table], list[Along], int]:
    """Fill in the corrected p-values: of each metric over the whole report.

    Changes and crossings along axes are of the metric that decides.

    Returns:
        Tables, axes, and how many comparisons were corrected for in the deciding metric.
    """
    families: dict[str, dict[object, float | None]] = {MAIN: {}}
    for number, table in enumerate(tables):
        for place, each in enumerate(table.differences):
            families.setdefault(each.metric, {})[number, place] = each.p_uncorrected
    for number, along in enumerate(alongs):
        for place, pair in enumerate(along.pairs):
            change = None if pair.change is None else pair.change.p_uncorrected
            families[MAIN]["change", number, place] = change
            if pair.crossing is not None:
                families[MAIN]["crossing", number, place] = pair.crossing.p_uncorrected
                families[MAIN]["kept", number, place] = pair.crossing.p_kept_uncorrected
    p_values = {metric: correct(family) for metric, family in families.items()}
    of_main = p_values[MAIN]

    def of_pair(number: int, place: int, pair: Pair) -> Pair:
        change, crossing = pair.change, pair.crossing
        if change is not None:
            change = replace(change, p=of_main["change", number, place])
        if crossing is not None:
            p, p_kept = (of_main[what, number, place] for what in ("crossing", "kept"))
            crossing = replace(crossing, p=p, p_kept=p_kept)
        return replace(pair, change=change, crossing=crossing)

    told = [
        replace(
            table,
            differences=tuple(
                replace(each, p=p_values[each.metric][number, place])
                for place, each in enumerate(table.differences)
            ),
        )
        for number, table in enumerate(tables)
    ]
    followed = [
        replace(
            along,
            pairs=tuple(of_pair(number, place, pair) for place, pair in enumerate(along.pairs)),
        )
        for number, along in enumerate(alongs)
    ]
    return told, followed, sum(p is not None for p in of_main.values())


def with_next_runs(table: Table, samples: Samples, *, chosen: Chosen, num_tests: int) -> Table:
    """Say of each rival that is not told from the chosen method what it would take.

    Args:
        table: its differences are corrected.
        samples: of the same table, in the deciding metric.
        chosen: the methods that dev chose.
        num_tests: the comparisons of the report, by which Holm's strictest step divides the level.
    """

    def told(each: Difference) -> Difference:
        is_asked = chosen.get(each.group) in (each.method, each.other)
        if each.metric != MAIN or each.p is None or each.is_finding or not is_asked:
            return each
        runs = samples.runs(each.group)
        answer = what_next(runs[each.method], runs[each.other], level=LEVEL / num_tests)
        words = str(answer) if isinstance(answer, NextRuns) else ""
        return replace(each, what_next=words)

    return replace(table, differences=tuple(map(told, table.differences)))


def choices(tables: Iterable[Table]) -> dict[str, str]:
    """By size and length, the method with the highest mean BLEU on dev, of the tables of a point.

    There is none where dev is missing, or scored in two ways.
    """
    dev = [table for table in tables if table.is_dev]
    chosen: dict[str, str] = {}
    for table in dev if len(dev) == 1 else ():
        for group in dict.fromkeys(row.group for row in table.students()):
            best = max(table.students(group), key=lambda row: row.bleu.mean)
            chosen[group] = best.method
    return chosen
