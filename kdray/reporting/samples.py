"""What every comparison of a report is made of: scores of all models on resamples of their tests.

Segments are drawn once for all models of a table, from what was counted when they were scored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from kdray.cell import Cell
from kdray.errors import DataError
from kdray.reporting.facts import StudyFacts
from kdray.reporting.table import Table
from kdray.scoring.counts import Segments
from kdray.scoring.result import Result
from kdray.scoring.segments import read_segments
from kdray.statistics.resampling import Resamples, Score
from kdray.statistics.seeds import Runs, pool_seeds

TOLERANCE = 0.01  # points by which a recorded score may differ from that of its counts

BySeed = Mapping[int, Score]
Cells = Mapping[tuple[str, str], BySeed]
"""By size and length in words, and by method."""


@dataclass(frozen=True, eq=False)
class Samples:
    """The scores of one table in one metric."""

    table: Table
    metric: str
    cells: Cells
    models: Mapping[tuple[str, str], Mapping[int, str]]  # fingerprints, by row and seed
    teacher: Score | None

    def by_method(self, group: str) -> dict[str, BySeed]:
        """The students of one size and length."""
        return {method: runs for (of, method), runs in self.cells.items() if of == group}

    def runs(self, group: str) -> Mapping[str, Runs]:
        """Their runs by method, with the seed noise that they share."""
        return pool_seeds(self.by_method(group))


def sample_table(
    table: Table, results: Sequence[Result], *, study: StudyFacts
) -> dict[str, Samples]:
    """Scores of a table's results on resamples of its segments, by metric.

    Metrics that say nothing of single segments are left out. Tables of one test draw the same
    sentences, also those that leave out some.

    Raises:
        DataError: counts are missing or damaged, or do not give the score recorded for them.
    """
    text = study.scenarios[table.point].texts[table.split]
    draws = resamples(len(text.refs), study.bootstrap_samples)
    if table.num_segments < len(text.refs):
        rows = text.rows(table.condition.share)
        draws = Resamples(draws.times_drawn[:, rows])
    by_metric: dict[str, Samples] = {}
    for metric in table.signatures:
        scored = [result for result in results if _has_segments(result, metric)]
        if not scored:
            continue
        cells: dict[tuple[str, str], dict[int, Score]] = {}
        models: dict[tuple[str, str], dict[int, str]] = {}
        teacher = None
        for result in scored:
            score = draws.score(segments_of(result, metric, table.num_segments))
            _check_recorded(result, metric, score)
            if result.cell.is_teacher:
                teacher = score
            else:
                row, seed = row_of(result.cell), result.cell.seed
                cells.setdefault(row, {})[seed] = score
                models.setdefault(row, {})[seed] = result.fingerprint
        by_metric[metric] = Samples(table, metric, cells, models, teacher)
    return by_metric


def row_of(cell: Cell) -> tuple[str, str]:
    """The row of a student within its table."""
    return cell.group, cell.method


def segments_of(result: Result, metric: str, lines: int) -> Segments:
    """What a metric counted in each segment that a model translated.

    Raises:
        DataError: it is missing or damaged, or of another number of segments.
    """
    path = result.scores[metric].segments_path
    assert path is not None, "the metric is known to speak of segments"
    file = Path(path)
    try:
        changed = file.stat().st_mtime_ns
    except OSError:
        changed = 0  # the reader tells why
    return _read(file, metric, lines, changed)


@lru_cache(maxsize=512)  # the models of a test: scored, sliced and shown one after another
def _read(path: Path, metric: str, lines: int, changed: int) -> Segments:
    """changed: when the file was written, since a cache by its name alone would keep what was."""
    return read_segments(path, metric, lines=lines)


@lru_cache(maxsize=2)  # the tests of a study in turn, for each of its metrics and conditions
def resamples(num_segments: int, samples: int) -> Resamples:
    """Draws that all models of a test share."""
    return Resamples.draw(num_segments, samples)


def _has_segments(result: Result, metric: str) -> bool:
    return metric in result.scores and result.scores[metric].segments_path is not None


def _check_recorded(result: Result, metric: str, score: Score) -> None:
    """Raise DataError if the counts give another score: they belong to something else."""
    recorded = result.scores[metric]
    if abs(recorded.value - score.observed) > TOLERANCE:
        raise DataError(
            f"{recorded.segments_path}: gives {metric} {score.observed:.2f}, but the "
            f"{result.where} records {recorded.value:.2f}; the file or the references changed: "
            "evaluate the model again"
        )
