"""Sorts results into tables: one for each split, condition and signature at a point of the grid."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from statistics import fmean

from kdray.config.evaluation import OWN_METRICS
from kdray.errors import DataError
from kdray.reporting.facts import StudyFacts
from kdray.reporting.table import Row, Spread, Table
from kdray.schema import Split
from kdray.scoring.result import Result
from kdray.statistics.resampling import MIN_SEGMENTS

RowKey = tuple[bool, str, str]  # is a teacher, group (size and length), method
BySeed = Mapping[int, Result]  # of one row


def build_tables(
    results: Iterable[Result], *, study: StudyFacts
) -> list[tuple[Table, list[Result]]]:
    """Tables and what each is made of, scenario by scenario; of each split the main beam first.

    Raises:
        DataError: a split has no references, a run is there twice, or runs of one row differ in
            their model.
    """
    places = [(point, split) for point, each in study.scenarios.items() for split in each.texts]
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
    groups = [list(group) for _, group in groupby(ordered, key=table_of)]
    return [(_build_table(group, study), group) for group in groups]


def _build_table(results: Sequence[Result], study: StudyFacts) -> Table:
    first = results[0]
    signatures = _signatures(results)
    scores = [item for result in results for item in result.scores.items()]
    segments = study.scenarios[first.cell.point].texts[first.split].segments(first.condition.share)
    groups = _group_rows(results, study.baseline)
    return Table(
        point=first.cell.point,
        split=first.split,
        condition=first.condition,
        signatures=signatures,
        lower_is_better=frozenset(name for name, each in scores if not each.higher_is_better),
        baseline=study.baseline,
        bootstrap_samples=study.bootstrap_samples,
        num_segments=len(segments),
        rows=tuple(
            _row(list(runs.values()), is_baseline=not is_teacher and method == study.baseline)
            for (is_teacher, _, method), runs in groups.items()
        ),
        notes=tuple(_notes(first, len(segments), groups, study.baseline)),
    )


def _notes(
    first: Result, num_segments: int, groups: Mapping[RowKey, BySeed], baseline: str
) -> Iterable[str]:
    """What a reader has to know of the tests of a table."""
    if first.split == Split.DEV or "bleu" not in first.scores:
        return
    if num_segments < MIN_SEGMENTS:
        yield (
            f"{num_segments} segments are too few to test differences on: they are shown without "
            f"a test, which needs {MIN_SEGMENTS} or more."
        )
    students = {key: runs for key, runs in groups.items() if not key[0]}
    for group in dict.fromkeys(group for _, group, _ in students):
        if (False, group, baseline) not in students:
            yield f"There is no {baseline} of {group}, so no difference to it."
    most = max((len(runs) for runs in students.values()), default=0)
    for (_, group, method), runs in students.items():
        if len(runs) < most:
            seeds = ", ".join(map(str, sorted(runs)))
            yield f"{method} ({group}) has seeds {seeds} alone, where others have {most}."


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


def _row(results: Sequence[Result], *, is_baseline: bool) -> Row:
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
        num_params=first.num_params,
        updates=_mean(result.updates for result in results),
        target_tokens=_mean(result.target_tokens for result in results),
        train_seconds=_mean(result.train_seconds for result in results),
        tokens_per_second=_mean(result.decode_tokens_per_second for result in results),
        sentences_per_second=_mean(result.decode_sentences_per_second for result in results),
    )


def _mean(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return fmean(known) if known else None
