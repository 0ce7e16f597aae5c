"""Which method scored what? One table for each split, condition and signature.

A row is one method at one size and length over its seeds; the teacher stands first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean

from kdray.cell import Cell, Point, shown
from kdray.condition import Condition
from kdray.config.evaluation import OWN_METRICS
from kdray.errors import DataError
from kdray.reporting.difference import (
    BySeed,
    Difference,
    Spread,
    difference_to,
    references,
    seed_notes,
)
from kdray.reporting.facts import StudyFacts
from kdray.scoring.metrics import signature
from kdray.scoring.result import Result
from kdray.statistics.multiplicity import LEVEL, holm
from kdray.statistics.resampling import MIN_SEGMENTS

RowKey = tuple[bool, str, str]  # is a teacher, group (size and length), method


@dataclass(frozen=True)
class Row:
    """One method at one size and length, or the teacher. Means over seeds; None: of none known."""

    cell: Cell  # of its first seed
    kind: str
    seeds: tuple[int, ...]
    is_baseline: bool
    scores: Mapping[str, Spread]  # by metric
    difference: Difference | None  # None: the teacher, the baseline, no seed in common with it
    num_params: int | None
    target_tokens: float | None
    train_seconds: float | None
    tokens_per_second: float | None
    sentences_per_second: float | None

    @property
    def bleu(self) -> Spread:
        """There is none under teacher forcing."""
        return self.scores["bleu"]

    @property
    def chrf(self) -> Spread:
        """There is none under teacher forcing."""
        return self.scores["chrf"]

    @property
    def method(self) -> str:
        """Its name in the recipe."""
        return self.cell.method

    @property
    def group(self) -> str:
        """Size and length: what is compared stands in one group."""
        return self.cell.group

    @property
    def is_teacher(self) -> bool:
        """The row is the teacher's."""
        return self.cell.is_teacher

    @property
    def is_finding(self) -> bool:
        """Whether it differs significantly from the baseline, in either direction."""
        return self.difference is not None and self.difference.is_finding


@dataclass(frozen=True)
class Table:
    """Scores that may stand in one column: same split, same condition, same signatures."""

    point: Point
    split: str
    condition: Condition
    signatures: Mapping[str, str]  # by metric; its order is that of the columns
    baseline: str
    bootstrap_samples: int
    num_segments: int
    rows: tuple[Row, ...]  # the teacher first, then group by group, its baseline first
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """Point of the grid, split and condition in words."""
        named = [*filter(None, [shown(self.point)]), self.split, self.condition.title]
        return ", ".join(named)

    @property
    def beam(self) -> int | None:
        """The width, in the plain condition alone."""
        return self.condition.width

    @property
    def is_translated(self) -> bool:
        """Whether there are translations, and so BLEU, chrF and differences in them."""
        return "bleu" in self.signatures

    @property
    def metrics_from_outside(self) -> tuple[str, ...]:
        """Those that scorers brought."""
        return tuple(name for name in self.signatures if name not in OWN_METRICS)

    @property
    def has_lengths(self) -> bool:
        """Whether students of several lengths are compared."""
        return any(row.cell.length is not None for row in self.rows)

    @property
    def num_tests(self) -> int:
        """How many comparisons Holm's correction counts."""
        return sum(row.difference is not None and row.difference.p is not None for row in self.rows)


def build_tables(results: Iterable[Result], *, study: StudyFacts) -> list[Table]:
    """Tables in the order of the scenarios and their splits; of each split the main beam first.

    Raises:
        DataError: a split has no references, a run is there twice, runs of one row differ in their
            model, or a file of translations does not give the score recorded for it.
    """
    places = [(point, split) for point, each in study.scenarios.items() for split in each.refs]
    order = {place: number for number, place in enumerate(places)}

    def table_of(result: Result) -> tuple[int, bool, tuple[int, float], tuple[str, ...]]:
        """What the results of one table have in common, in the order of the tables."""
        place = (result.cell.point, result.split)
        if place not in order:
            there = [split for point, split in places if point == result.cell.point]
            raise DataError(
                f"{result.where}: {result.split} has no references, only "
                f"{', '.join(there) or 'no split'} has; give them, or leave the result out"
            )
        is_other = result.condition.width != study.main_beam
        own = [result.scores[name] for name in OWN_METRICS if name in result.scores]
        signatures = tuple(score.signature for score in own)
        return (order[place], is_other, result.condition.place, signatures)

    ordered = sorted(results, key=table_of)  # stable: rows keep the order of the results
    return [_build_table(list(group), study) for _, group in groupby(ordered, key=table_of)]


def _build_table(results: Sequence[Result], study: StudyFacts) -> Table:
    first, rows, notes = results[0], list[Row](), list[str]()
    signatures = _signatures(results)
    refs = references(study, first)
    test_signature = signature(study.scenarios[first.cell.point].bleu_tokenize)
    is_tested = signatures.get("bleu") == test_signature and len(refs) >= MIN_SEGMENTS
    groups = _group_rows(results, study.baseline)
    for (is_teacher, group, method), runs in groups.items():
        is_baseline = not is_teacher and method == study.baseline
        difference = None
        if not is_teacher and not is_baseline and "bleu" in signatures:
            baseline = groups.get((False, group, study.baseline), {})
            difference = difference_to(baseline, runs, study=study, test=is_tested)
            notes += seed_notes(baseline, runs, baseline_name=study.baseline)
        rows.append(_row(list(runs.values()), difference, is_baseline=is_baseline))
    table = Table(
        point=first.cell.point,
        split=first.split,
        condition=first.condition,
        signatures=signatures,
        baseline=study.baseline,
        bootstrap_samples=study.bootstrap_samples,
        num_segments=len(refs),
        rows=_correct(rows),
        notes=tuple(notes),
    )
    if not table.is_translated:
        return table
    return replace(table, notes=(*notes, *_test_notes(table, test_signature)))


def _signatures(results: Sequence[Result]) -> dict[str, str]:
    """Of each metric that one of the results has, kdray's own first."""
    signatures: dict[str, str] = {}
    for result in results:
        for name, score in result.scores.items():
            if signatures.setdefault(name, score.signature) != score.signature:
                raise DataError(
                    f"{result.where}: {name} is {score.signature}, and {signatures[name]} in "
                    "another result; give the scorers different names"
                )
    return signatures


def _group_rows(results: Sequence[Result], baseline: str) -> dict[RowKey, BySeed]:
    """BySeed of each row, in the order of the rows."""
    groups = list(dict.fromkeys(result.cell.group for result in results))

    def place(result: Result) -> tuple[bool, int, bool]:
        cell = result.cell
        return (not cell.is_teacher, groups.index(cell.group), cell.method != baseline)

    rows: dict[RowKey, dict[int, Result]] = {}
    for result in sorted(results, key=place):
        cell = result.cell
        runs = rows.setdefault((cell.is_teacher, cell.group, cell.method), {})
        if cell.seed in runs:
            raise DataError(f"{result.where}: it is given twice; give each run once")
        other = next(iter(runs.values()), result)
        if (other.kind, other.num_params) != (result.kind, result.num_params):
            raise DataError(
                f"{result.where}: a {result.kind} of {result.num_params} parameters, but seed "
                f"{other.cell.seed} is a {other.kind} of {other.num_params}; give them different "
                "names"
            )
        runs[cell.seed] = result
    return dict(rows)


def _row(results: Sequence[Result], difference: Difference | None, *, is_baseline: bool) -> Row:
    first = results[0]
    return Row(
        cell=first.cell,
        kind=first.kind,
        seeds=tuple(sorted(result.cell.seed for result in results)),
        is_baseline=is_baseline,
        scores={
            name: Spread.of([result.scores[name].value for result in results])
            for name in first.scores
            if all(name in result.scores for result in results)
        },
        difference=difference,
        num_params=first.num_params,
        target_tokens=_mean(result.target_tokens for result in results),
        train_seconds=_mean(result.train_seconds for result in results),
        tokens_per_second=_mean(result.decode_tokens_per_second for result in results),
        sentences_per_second=_mean(result.decode_sentences_per_second for result in results),
    )


def _correct(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Fill in the p-values that are corrected over all comparisons of the table."""
    differences = [row.difference for row in rows if row.difference is not None]
    of_bleu = _corrected(each.p_uncorrected for each in differences)
    names = {name for each in differences for name in each.others}
    of_others = {
        name: _corrected(
            each.others[name].p_uncorrected for each in differences if name in each.others
        )
        for name in names
    }

    def correct(difference: Difference) -> Difference:
        others = {
            name: replace(change, p=of_others[name].get(change.p_uncorrected))
            for name, change in difference.others.items()
        }
        return replace(difference, p=of_bleu.get(difference.p_uncorrected), others=others)

    return tuple(
        row if row.difference is None else replace(row, difference=correct(row.difference))
        for row in rows
    )


def _corrected(p_values: Iterable[float | None]) -> dict[float | None, float]:
    """What Holm makes of each p-value; equal ones become equal."""
    tested = [p for p in p_values if p is not None]
    return dict(zip(tested, holm(tested), strict=True))


def _test_notes(table: Table, test_signature: str) -> list[str]:
    notes = []
    if (scored_as := table.signatures["bleu"]) != test_signature:
        notes.append(
            f"Scored as {scored_as}, while the significance test scores as "
            f"{test_signature}: differences are shown without a test."
        )
    if table.num_segments < MIN_SEGMENTS:
        notes.append(
            f"{table.num_segments} segments are too few to test differences on: they are shown "
            f"without a test, which needs {MIN_SEGMENTS} or more."
        )
    smallest = table.num_tests / (table.bootstrap_samples + 1)
    if smallest >= LEVEL:
        notes.append(
            f"With {table.bootstrap_samples} resamples and {table.num_tests} comparisons no "
            f"corrected p can fall below {LEVEL}: raise recipe.evaluation.bootstrap_samples."
        )
    return notes


def _mean(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return fmean(known) if known else None
