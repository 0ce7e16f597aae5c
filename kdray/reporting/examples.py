"""Sentences on which methods differ most: what a reader wants to see with their own eyes.

They are the segments where the sentence chrF of the methods is spread widest, in the mean over
seeds. Shown is what the first seed of each method wrote. They are picked for their difference, so
they say what kinds of difference there are, and nothing of how frequent they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdray.errors import DataError
from kdray.reporting.facts import StudyFacts
from kdray.reporting.samples import segments_of
from kdray.reporting.table import Table
from kdray.scoring.result import Result, read_hyps

METRIC = "chrf"


@dataclass(frozen=True)
class Written:
    """What a model made of a sentence, and its sentence chrF."""

    method: str
    text: str
    chrf: float
    is_teacher: bool = False


@dataclass(frozen=True)
class Example:
    """A sentence of a test, and what the models of one size and length made of it."""

    scenario: str  # in words
    split: str
    line: int  # from 1
    source: str
    reference: str
    written: tuple[Written, ...]  # the teacher's first


def examples_of(
    table: Table, results: Sequence[Result], *, study: StudyFacts, most: int
) -> Iterator[Example]:
    """The segments of a test on which the methods of one size and length differ most.

    Args:
        table: a test in the plain condition.
        results: that it is made of.
        study: holds sources and references.
        most: how many, for each size and length.

    Raises:
        DataError: translations or counts are missing or damaged.
    """
    if not table.is_translated:
        return
    segments = study.scenarios[table.point].texts[table.split].segments(table.condition.share)
    chrf = {id(each): _chrf(each, table.num_segments) for each in results}
    teachers = [result for result in results if result.cell.is_teacher][:1]
    students = [result for result in results if not result.cell.is_teacher]
    for place in dict.fromkeys(result.cell.place for result in students):
        here = [result for result in students if result.cell.place == place]
        methods = list(dict.fromkeys(result.cell.method for result in here))
        if len(methods) < 2:
            continue
        means = np.stack(
            [np.mean([chrf[id(e)] for e in here if e.cell.method == name], 0) for name in methods]
        )
        widest = np.argsort(-np.ptp(means, axis=0), kind="stable")[:most]
        shown = teachers + [
            min((e for e in here if e.cell.method == name), key=lambda each: each.cell.seed)
            for name in methods
        ]
        hyps = {id(each): _hyps(each, len(segments)) for each in shown}
        for row in widest.tolist():
            yield Example(
                scenario=place,
                split=table.split,
                line=row + 1,
                source=segments[row].src,
                reference=segments[row].ref,
                written=tuple(
                    Written(
                        method=each.cell.method,
                        text=hyps[id(each)][row],
                        chrf=float(chrf[id(each)][row]),
                        is_teacher=each.cell.is_teacher,
                    )
                    for each in shown
                ),
            )


def _chrf(result: Result, lines: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    segments = segments_of(result, METRIC, lines)
    return np.asarray(segments.score(segments.counts))


def _hyps(result: Result, lines: int) -> Sequence[str]:
    assert result.hyps_path is not None, "it has chrF"
    hyps = read_hyps(Path(result.hyps_path))
    if len(hyps) != lines:
        raise DataError(
            f"{result.hyps_path}: {len(hyps)} translations, but {result.split} has {lines} "
            "references; evaluate the model again"
        )
    return hyps
