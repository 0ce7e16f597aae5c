"""Which method scored what? One table for each split, beam and signature.

A row is one method at one size and length over its seeds; the teacher stands first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean

from kdray.cell import Cell
from kdray.errors import DataError
from kdray.reporting.difference import BySeed, Difference, Spread, difference_to, seed_notes
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
    bleu: Spread
    chrf: Spread
    difference: Difference | None  # None: the teacher, the baseline, no seed in common with it
    num_params: int | None
    target_tokens: float | None
    train_seconds: float | None
    tokens_per_second: float | None
    sentences_per_second: float | None

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
    """Scores that may stand in one column: same split, same beam, same signatures."""

    split: str
    beam: int
    bleu_signature: str
    chrf_signature: str
    baseline: str
    bootstrap_samples: int
    num_segments: int
    rows: tuple[Row, ...]  # the teacher first, then group by group, its baseline first
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """Split and beam in words."""
        return f"{self.split}, beam {self.beam}"

    @property
    def has_lengths(self) -> bool:
        """Whether students of several lengths are compared."""
        return any(row.cell.length is not None for row in self.rows)

    @property
    def num_tests(self) -> int:
        """How many comparisons Holm's correction counts."""
        return sum(row.difference is not None and row.difference.p is not None for row in self.rows)


def build_tables(results: Iterable[Result], *, study: StudyFacts) -> list[Table]:
    """Tables in the order of `study.refs`; of each split the main beam first.

    Raises:
        DataError: a split has no references, a run is there twice, runs of one row differ in their
            model, or a file of translations does not give the score recorded for it.
    """
    order = {split: place for place, split in enumerate(study.refs)}

    def table_of(result: Result) -> tuple[int, bool, int, str, str]:
        """What the results of one table have in common, in the order of the tables."""
        if result.split not in order:
            raise DataError(
                f"{result.where}: {result.split} has no references, only "
                f"{', '.join(order) or 'no split'} has; give them, or leave the result out"
            )
        other_beam = result.beam != study.main_beam
        signatures = (result.bleu_signature, result.chrf_signature)
        return (order[result.split], other_beam, result.beam, *signatures)

    ordered = sorted(results, key=table_of)  # stable: rows keep the order of the results
    return [_build_table(list(group), study) for _, group in groupby(ordered, key=table_of)]


def _build_table(results: Sequence[Result], study: StudyFacts) -> Table:
    first, rows, notes = results[0], list[Row](), list[str]()
    num_segments = len(study.refs[first.split])
    test_signature = signature(study.bleu_tokenize)
    is_tested = first.bleu_signature == test_signature and num_segments >= MIN_SEGMENTS
    groups = _group_rows(results, study.baseline)
    for (is_teacher, group, method), runs in groups.items():
        is_baseline = not is_teacher and method == study.baseline
        difference = None
        if not is_teacher and not is_baseline:
            baseline = groups.get((False, group, study.baseline), {})
            difference = difference_to(baseline, runs, study=study, test=is_tested)
            notes += seed_notes(baseline, runs, baseline_name=study.baseline)
        rows.append(_row(list(runs.values()), difference, is_baseline=is_baseline))
    table = Table(
        split=first.split,
        beam=first.beam,
        bleu_signature=first.bleu_signature,
        chrf_signature=first.chrf_signature,
        baseline=study.baseline,
        bootstrap_samples=study.bootstrap_samples,
        num_segments=num_segments,
        rows=_correct(rows),
        notes=tuple(notes),
    )
    return replace(table, notes=(*notes, *_test_notes(table, test_signature)))


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
        bleu=Spread.of([result.bleu for result in results]),
        chrf=Spread.of([result.chrf for result in results]),
        difference=difference,
        num_params=first.num_params,
        target_tokens=_mean(result.target_tokens for result in results),
        train_seconds=_mean(result.train_seconds for result in results),
        tokens_per_second=_mean(result.decode_tokens_per_second for result in results),
        sentences_per_second=_mean(result.decode_sentences_per_second for result in results),
    )


def _correct(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Fill in the p-values that are corrected over all comparisons of the table."""
    raw = [row.difference.p_uncorrected for row in rows if row.difference is not None]
    tested = [p for p in raw if p is not None]
    corrected = dict[float | None, float](zip(tested, holm(tested), strict=True))  # equal p: equal
    return tuple(
        replace(row, difference=replace(each, p=corrected.get(each.p_uncorrected)))
        if (each := row.difference) is not None
        else row
        for row in rows
    )


def _test_notes(table: Table, test_signature: str) -> list[str]:
    notes = []
    if table.bleu_signature != test_signature:
        notes.append(
            f"Scored as {table.bleu_signature}, while the significance test scores as "
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
