"""Which method scored what? One table for each split, condition and signature.

A row is one method at one size and length over its seeds; the teacher stands first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Self

from kdray.cell import Cell, Point, shown
from kdray.condition import Condition
from kdray.config.evaluation import OWN_METRICS
from kdray.reporting.difference import Difference
from kdray.schema import Split


@dataclass(frozen=True)
class Spread:
    """Mean over seeds, and their standard deviation (n - 1), which is None with one seed."""

    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of at least one value."""
        return cls(mean=fmean(values), sd=stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class Row:
    """One method at one size and length, or the teacher. Means over seeds; None: of none known."""

    cell: Cell  # of its first seed
    kind: str
    seeds: tuple[int, ...]
    is_baseline: bool
    scores: Mapping[str, Spread]  # by metric
    num_params: int | None
    updates: float | None
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


@dataclass(frozen=True)
class Table:
    """Scores that may stand in one column: same split, same condition, same signatures."""

    point: Point
    split: str
    condition: Condition
    signatures: Mapping[str, str]  # by metric; its order is that of the columns
    lower_is_better: frozenset[str]  # metrics of which less is better
    baseline: str
    bootstrap_samples: int
    num_segments: int
    rows: tuple[Row, ...]  # the teacher first, then group by group, its baseline first
    notes: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()  # of all metrics; see `kdray.reporting.compare`

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
    def is_dev(self) -> bool:
        """Whether it is of the split that chooses, on which nothing is tested."""
        return self.split == Split.DEV

    @property
    def is_translated(self) -> bool:
        """Whether there are translations, and so BLEU, chrF and differences in them."""
        return "bleu" in self.signatures

    @property
    def metrics_from_outside(self) -> tuple[str, ...]:
        """Those that scorers brought."""
        own = (*OWN_METRICS, "loss", "accuracy")
        return tuple(name for name in self.signatures if name not in own)

    @property
    def has_lengths(self) -> bool:
        """Whether students of several lengths are compared."""
        return any(row.cell.length is not None for row in self.rows)

    @property
    def teacher(self) -> Row | None:
        """The teacher's row; an ensemble has one."""
        return next((row for row in self.rows if row.is_teacher), None)

    def students(self, group: str | None = None) -> list[Row]:
        """The rows of students, of one size and length if it is given."""
        students = [row for row in self.rows if not row.is_teacher]
        return students if group is None else [row for row in students if row.group == group]

    def row(self, group: str, method: str) -> Row | None:
        """The row of a method at a size and length."""
        return next((row for row in self.students(group) if row.method == method), None)

    def difference(
        self, group: str, method: str, other: str, metric: str = "bleu"
    ) -> Difference | None:
        """A method minus another one, if the two were compared."""
        for each in self.differences:
            of_row = (each.group, each.metric) == (group, metric)
            if of_row and {each.method, each.other} == {method, other}:
                return each.of(method)
        return None

    def to_baseline(self, row: Row, metric: str = "bleu") -> Difference | None:
        """The difference of a row to the baseline, if they were compared."""
        if row.is_teacher or row.is_baseline:
            return None
        return self.difference(row.group, row.method, self.baseline, metric)

    def prefers_higher(self, metric: str) -> bool:
        """Whether more of a metric is better."""
        return metric not in self.lower_is_better
