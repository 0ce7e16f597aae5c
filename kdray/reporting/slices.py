"""Where does a method help: on short or long sentences, on common or rare words?

The segments of a test are cut into quarters, and every quarter is scored by itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kdray.reporting.facts import StudyFacts
from kdray.reporting.samples import segments_of
from kdray.reporting.table import Spread, Table
from kdray.scoring.result import Result
from kdray.statistics.resampling import MIN_SEGMENTS
from kdray.text.words import words_of

QUARTERS = 4
METRIC = "bleu"

Kind = Literal["length", "rarity"]
UNITS: Mapping[Kind, str] = {"length": "words of the source", "rarity": "bits a word"}


@dataclass(frozen=True)
class Slice:
    """A quarter of a test, and what the models of a table score on it."""

    kind: Kind
    number: int  # from 1, the shortest or most common
    low: float  # of the quarter's segments, in the kind's unit
    high: float
    num_segments: int
    scores: Mapping[str, Spread] = field(default_factory=dict)  # BLEU over seeds, by method


@dataclass(frozen=True)
class Slices:
    """The quarters of one test, for the students of one size and length at one point."""

    scenario: str  # in words
    split: str
    slices: tuple[Slice, ...]

    def of(self, kind: Kind) -> list[Slice]:
        """The quarters by one property of the source."""
        return [each for each in self.slices if each.kind == kind]


def slices_of(table: Table, results: Sequence[Result], *, study: StudyFacts) -> Iterator[Slices]:
    """Score every quarter; a test that is too small for quarters has none.

    Raises:
        DataError: counts are missing or damaged.
    """
    text = study.scenarios[table.point].texts[table.split]
    if not table.is_translated or table.num_segments < QUARTERS * MIN_SEGMENTS:
        return
    cuts: list[tuple[Kind, NDArray[np.float64]]] = [
        ("length", np.array([len(words_of(line)) for line in text.src], dtype=np.float64))
    ]
    if text.rarity:
        cuts.append(("rarity", np.array(text.rarity)))
    quarters = [(kind, values, _quarters(values)) for kind, values in cuts]
    students = [result for result in results if not result.cell.is_teacher]
    counted = {id(each): segments_of(each, METRIC, table.num_segments) for each in students}
    for place in dict.fromkeys(result.cell.place for result in students):
        here = [result for result in students if result.cell.place == place]
        methods = dict.fromkeys(result.cell.method for result in here)

        def score(method: str, rows: NDArray[np.int64], here: Sequence[Result] = here) -> Spread:
            segments = [counted[id(each)] for each in here if each.cell.method == method]
            return Spread.of([float(s.score(s.counts[rows].sum(axis=0))) for s in segments])

        yield Slices(
            scenario=place,
            split=table.split,
            slices=tuple(
                Slice(
                    kind=kind,
                    number=number,
                    low=float(values[rows].min()),
                    high=float(values[rows].max()),
                    num_segments=len(rows),
                    scores={method: score(method, rows) for method in methods},
                )
                for kind, values, parts in quarters
                for number, rows in enumerate(parts, start=1)
            ),
        )


def _quarters(values: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Rows of each quarter; equal values stay together, so that quarters may differ in size."""
    edges = np.quantile(values, [number / QUARTERS for number in range(1, QUARTERS)])
    quarter = np.searchsorted(edges, values, side="left")
    rows = [np.flatnonzero(quarter == number) for number in range(QUARTERS)]
    return [each for each in rows if len(each)]
