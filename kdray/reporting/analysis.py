"""Everything that a report says, computed from results: tables, verdicts, axes, examples."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from kdray.reporting.along import Along, follow_axes
from kdray.reporting.build_tables import build_tables
from kdray.reporting.compare import MAIN, choices, corrected, differences_of, with_next_runs
from kdray.reporting.examples import Example, examples_of
from kdray.reporting.facts import StudyFacts
from kdray.reporting.overview import Overview, overview_of
from kdray.reporting.samples import Samples, sample_table
from kdray.reporting.slices import Slices, slices_of
from kdray.reporting.table import Table
from kdray.reporting.verdict import Verdict, verdict_of
from kdray.scoring.result import Result

Built = tuple[Table, list[Result]]
EXAMPLES, EXAMPLES_OF_EACH = 24, 6
"""How many sentences are shown: about so many in all, and so many of each scenario."""


@dataclass(frozen=True)
class Analysis:
    """What a study found."""

    tables: tuple[Table, ...]
    overview: Overview
    verdicts: tuple[Verdict, ...]  # of each scenario
    alongs: tuple[Along, ...]
    slices: tuple[Slices, ...]
    examples: tuple[Example, ...]
    num_tests: int  # comparisons that p-values are corrected for


def analyse(
    results: Sequence[Result],
    *,
    study: StudyFacts,
    follow: Callable[[Sequence[Built]], Iterable[Built]] = iter,
) -> Analysis:
    """Compute all that a report says.

    Needs the files of counts that the results name; no model, no tracker, no network. Whoever wants
    to show progress lets `follow` hand out the tables, on which most of the time is spent.

    Raises:
        DataError: results, counts and references do not belong together.
    """
    built = build_tables(results, study=study)
    tables = [table for table, _ in built]
    chosen = {
        point: choices([table for table in group if table.beam == study.main_beam])
        for point, group in groupby(tables, key=lambda table: table.point)
    }
    sampled: list[Samples | None] = []
    slices: list[Slices] = []
    examples: list[Example] = []
    shown = [table for table in tables if not table.is_dev and table.beam == study.main_beam]
    of_each = min(EXAMPLES_OF_EACH, max(1, EXAMPLES // max(len(shown), 1)))
    for number, (table, of_table) in enumerate(follow(built)):
        by_metric = sample_table(table, of_table, study=study)
        differences = [each for samples in by_metric.values() for each in differences_of(samples)]
        tables[number] = replace(table, differences=tuple(differences))
        sampled.append(by_metric.get(MAIN))
        if table in shown:
            slices += slices_of(table, of_table, study=study)
            if len(examples) < EXAMPLES:
                examples += examples_of(table, of_table, study=study, most=of_each)
    of_main = [samples for samples in sampled if samples is not None]
    tables, alongs, num_tests = corrected(tables, follow_axes(of_main, study=study))
    tables = [
        with_next_runs(table, samples, chosen=chosen[table.point], num_tests=num_tests)
        if samples is not None and table.beam == study.main_beam
        else table
        for table, samples in zip(tables, sampled, strict=True)
    ]
    verdicts = [
        verdict_of(of_point, group, chosen=chosen[point], main_beam=study.main_beam)
        for point, of_point in _by_point(tables)
        for group in _groups(of_point, study.main_beam)
    ]
    return Analysis(
        tables=tuple(tables),
        overview=overview_of(verdicts, alongs, study=study, num_tests=num_tests),
        verdicts=tuple(verdicts),
        alongs=tuple(alongs),
        slices=tuple(slices),
        examples=tuple(examples),
        num_tests=num_tests,
    )


def _by_point(tables: Sequence[Table]) -> list[tuple[tuple[tuple[str, str], ...], list[Table]]]:
    return [(point, list(group)) for point, group in groupby(tables, key=lambda table: table.point)]


def _groups(tables: Sequence[Table], main_beam: int) -> list[str]:
    """The sizes and lengths that are scored in the plain condition."""
    rows = [row for table in tables if table.beam == main_beam for row in table.students()]
    return list(dict.fromkeys(row.group for row in rows))
