"""How a method stands to those of its size and length in one table."""

from collections.abc import Sequence

from kdray.reporting.difference import Difference
from kdray.reporting.table import Row, Table


def rivals_of(table: Table, row: Row) -> list[Difference]:
    """The chosen method minus each of the others."""
    others = [other.method for other in table.students(row.group) if other.method != row.method]
    compared = [table.difference(row.group, row.method, other) for other in others]
    return [each for each in compared if each is not None]


def beaten_by(table: Table, row: Row) -> list[str]:
    """The methods that a row is shown to beat."""
    return [each.other for each in rivals_of(table, row) if wins(each)]


def beating_baseline(tests: Sequence[Table], group: str) -> list[str]:
    """The methods that beat the baseline on some test."""
    found = [(row, table.to_baseline(row)) for table in tests for row in table.students(group)]
    return list(dict.fromkeys(row.method for row, each in found if each is not None and wins(each)))


def wins(each: Difference) -> bool:
    """It is shown to be better."""
    return each.is_finding and each.is_better


def loses(each: Difference) -> bool:
    """It is shown to be worse."""
    return each.is_finding and not each.is_better
