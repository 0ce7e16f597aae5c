"""Which method serves a scenario, and how sure is that? Words that are computed from the tables.

Dev scores choose the method; test scores only show what the choice is worth. Nothing is claimed
that is not marked as a finding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from kdray.cell import Point, shown
from kdray.reporting.compare import Chosen
from kdray.reporting.difference import Difference, Finding
from kdray.reporting.numbers import listed
from kdray.reporting.rivals import beaten_by, beating_baseline, loses, rivals_of, wins
from kdray.reporting.sentences import sentences_of
from kdray.reporting.table import Row, Table


class Certainty(StrEnum):
    """What the tests say of the method that dev chose."""

    BEATS_ALL = "it beats every other method"
    BEATS_BASELINE = "it beats the baseline"
    PARTLY = "it beats the baseline on some of the tests"
    BASELINE = "it is the baseline, and nothing is shown to beat it"
    OPEN = "it is not shown to beat the baseline"
    WORSE = "it is worse than another method"
    UNTESTED = "not tested"


@dataclass(frozen=True)
class Verdict:
    """The conclusion about the students of one size and length at one point of the grid."""

    point: Point
    size: str  # with the length, if there are several
    chosen: str | None  # a method; None if dev cannot choose
    certainty: Certainty
    headline: str
    sentences: tuple[str, ...]
    next_runs: tuple[str, ...]  # what to run where the evidence is thin

    @property
    def scenario(self) -> str:
        """Where it holds, in words."""
        return ", ".join(filter(None, [shown(self.point), self.size]))


def verdict_of(tables: Sequence[Table], group: str, *, chosen: Chosen, main_beam: int) -> Verdict:
    """Judge the students of one size and length.

    Args:
        tables: all of one point of the grid, their differences corrected.
        group: size and length in words.
        chosen: the methods that dev chose at this point.
        main_beam: the beam that the headline speaks of.
    """
    main = [table for table in tables if table.beam == main_beam and table.students(group)]
    point = tables[0].point
    if (name := chosen.get(group)) is None:
        reason = "carry different signatures" if any(t.is_dev for t in main) else "are missing"
        headline = f"No method is chosen: the dev scores {reason}."
        return Verdict(point, group, None, Certainty.UNTESTED, headline, (), ())
    dev = next(table for table in main if table.is_dev)
    best = dev.row(group, name)
    assert best is not None, "dev chose it"
    tests = [table for table in main if not table.is_dev]
    scored = [table for table in tests if table.row(group, name)]
    certainty, headline = _headline(best, dev, tests, scored)
    others = [t for t in tables if not t.is_dev and t.beam != main_beam and t.is_translated]
    sentences = sentences_of(best, dev, tests, others)
    nexts = [
        f"To tell {each.method} from {each.other} on {table.split}: {each.what_next}."
        for table in scored
        for each in rivals_of(table, best)
        if each.what_next
    ]
    return Verdict(point, group, name, certainty, headline, sentences, tuple(nexts))


def _headline(
    best: Row, dev: Table, tests: Sequence[Table], scored: Sequence[Table]
) -> tuple[Certainty, str]:
    """The strongest statement that the tests support."""
    name, baseline = best.method, dev.baseline
    if len(dev.students(best.group)) == 1:
        return Certainty.UNTESTED, f"There is only {name}: nothing to compare it with."
    if not tests:
        told = f"Dev prefers {name}; there are no test scores that could confirm it."
        return Certainty.UNTESTED, told
    every = [(table.split, each) for table in scored for each in rivals_of(table, best)]
    worse = [f"{each.other} on {split}" for split, each in every if loses(each)]
    if worse:
        return Certainty.WORSE, f"Dev prefers {name}, but it is worse than {listed(worse)}."
    splits = [table.split for table in tests]
    others = [row.method for table in (dev, *tests) for row in table.students(best.group)]
    unbeaten = [
        method
        for method in dict.fromkeys(others)
        if method != name and not all(method in beaten_by(table, best) for table in tests)
    ]
    if not unbeaten:
        told = f"Take {name}: it beats every other method on {listed(splits)}."
        return Certainty.BEATS_ALL, told
    beaten = [
        table.split
        for table in scored
        if (each := table.to_baseline(best)) is not None and wins(each)
    ]
    if beaten and beaten == splits:
        return Certainty.BEATS_BASELINE, (
            f"Take {name}: it beats {baseline} on {listed(beaten)}, and is not told from "
            f"{listed(unbeaten)}."
        )
    if beaten:
        return Certainty.PARTLY, f"{name} is shown to beat {baseline} on {listed(beaten)} only."
    if all(each.finding in (Finding.UNTESTED, Finding.SEED_NOISE_UNKNOWN) for _, each in every):
        return Certainty.UNTESTED, _untested(best, dev, every)
    if best.is_baseline:
        told = f"No method is shown to beat the baseline {name}, which dev prefers."
        return Certainty.BASELINE, told
    if not any(table.row(best.group, baseline) for table in tests):
        return Certainty.OPEN, f"Dev prefers {name}; the baseline {baseline} is missing."
    if beating_baseline(tests, best.group):
        told = f"Dev prefers {name}, which is not shown to beat {baseline}."
        return Certainty.OPEN, told
    return (
        Certainty.OPEN,
        f"No method is shown to beat the baseline {baseline}; dev prefers {name}.",
    )


def _untested(best: Row, dev: Table, every: Sequence[tuple[str, Difference]]) -> str:
    known = [
        (split, each)
        for split, each in every
        if each.finding is Finding.SEED_NOISE_UNKNOWN and dev.baseline in (each.method, each.other)
    ]
    if not known:
        return f"Dev prefers {best.method}; it could not be tested."
    losses_first = sorted(known, key=lambda item: item[1].is_better)
    looks = [
        f"{'better' if each.is_better else 'worse'} than {each.other} on {split}"
        for split, each in losses_first
    ]
    return (
        f"{best.method} looks {listed(looks)}, but with one seed the luck of the seed is not known."
    )
