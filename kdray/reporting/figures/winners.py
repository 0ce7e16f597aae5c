"""Which method serves where? The scenarios of a study as a grid of its axes and sizes."""

from collections.abc import Sequence
from dataclasses import dataclass

from kdray.reporting.difference import Difference
from kdray.reporting.table import Table
from kdray.reporting.verdict import Certainty, Verdict

SIZE = "student size"  # no axis of a recipe has a name with spaces
SIGNS = {
    Certainty.BEATS_ALL: "●●",
    Certainty.BEATS_BASELINE: "●○",
    Certainty.PARTLY: "◐○",
    Certainty.BASELINE: "=",
    Certainty.OPEN: "○○",
    Certainty.WORSE: "▼",
    Certainty.UNTESTED: "?",
}


@dataclass(frozen=True)
class Square:
    """One scenario: its verdict, its number in the report, and what the tests say."""

    verdict: Verdict
    number: int
    tests: tuple[tuple[str, Difference], ...]  # by split: the chosen method minus the baseline

    @property
    def sign(self) -> str:
        """How certain the choice is."""
        return SIGNS[self.verdict.certainty]

    @property
    def much(self) -> int:
        """How strongly the square is coloured, from 1 to 3."""
        return {Certainty.BEATS_ALL: 3, Certainty.BEATS_BASELINE: 2}.get(self.verdict.certainty, 1)


@dataclass(frozen=True)
class Winners:
    """A table: the last axis that varies has the columns, the others the rows."""

    row_axes: tuple[str, ...]
    column_axis: str
    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[Square | None, ...]], ...]  # labels, squares

    @property
    def certainties(self) -> list[Certainty]:
        """Those that occur, in the order of the legend."""
        squares = [square for _, row in self.rows for square in row if square is not None]
        there = {square.verdict.certainty for square in squares}
        return [certainty for certainty in Certainty if certainty in there]


def winners_of(
    verdicts: Sequence[Verdict], tables: Sequence[Table], *, main_beam: int
) -> Winners | None:
    """The grid; None where there is one scenario only."""
    if len(verdicts) < 2:
        return None
    places = [dict(verdict.point) | {SIZE: verdict.size} for verdict in verdicts]
    names = list(dict.fromkeys(name for place in places for name in place if name != SIZE))
    axes = [name for name in (*names, SIZE) if len({each.get(name) for each in places}) > 1]
    *row_axes, column_axis = axes
    squares: dict[tuple[str, ...], dict[str, Square]] = {}
    for number, (verdict, place) in enumerate(zip(verdicts, places, strict=True), start=1):
        labels = tuple(place.get(name, "") for name in row_axes)
        tests = tuple(_tests(verdict, tables, main_beam))
        squares.setdefault(labels, {})[place.get(column_axis, "")] = Square(verdict, number, tests)
    columns = tuple(dict.fromkeys(place.get(column_axis, "") for place in places))
    return Winners(
        row_axes=tuple(row_axes),
        column_axis=column_axis,
        columns=columns,
        rows=tuple(
            (labels, tuple(row.get(column) for column in columns))
            for labels, row in squares.items()
        ),
    )


def _tests(
    verdict: Verdict, tables: Sequence[Table], main_beam: int
) -> list[tuple[str, Difference]]:
    found = []
    for table in tables:
        if table.point != verdict.point or table.is_dev or table.beam != main_beam:
            continue
        row = table.row(verdict.size, verdict.chosen or "")
        if row is not None and (difference := table.to_baseline(row)) is not None:
            found.append((table.split, difference))
    return found
