"""The scores of a study as one flat table, for a spreadsheet or a data frame."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from kdray.reporting.table import Row, Table

PLACE = ("split", "condition", "role", "size", "updates", "method", "seeds")
COSTS = ("num_params", "updates_trained", "target_tokens", "train_seconds", "tokens_per_second")
SAID = ("mean", "sd", "difference", "low", "high", "p_uncorrected", "p", "finding")
"""Of one metric; differences are to the baseline."""


def write_csv(path: Path, tables: Sequence[Table]) -> None:
    """Write a line for each row of each table and metric, with a column for each axis."""
    axes = list(dict.fromkeys(name for table in tables for name, _ in table.point))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"axes.{axis}" for axis in axes), *PLACE, "metric", *SAID, *COSTS])
        for table in tables:
            place = dict(table.point)
            for row in table.rows:
                for line in _lines(table, row):
                    writer.writerow([*(place.get(axis, "") for axis in axes), *line])


def _lines(table: Table, row: Row) -> Iterator[list[object]]:
    cell = row.cell
    length = "" if cell.length is None else cell.length
    place = [table.split, table.condition.name, cell.role, cell.size, length, row.method]
    costs = (row.num_params, row.updates, row.target_tokens, row.train_seconds)
    for metric, spread in row.scores.items():
        each = table.to_baseline(row, metric)
        said: tuple[object, ...] = ("",) * 6
        if each is not None:
            p_values = (each.p_uncorrected, each.p)
            said = (each.value, each.low, each.high, *p_values, each.finding)
        scores = (spread.mean, spread.sd, *said)
        yield [*place, len(row.seeds), metric, *scores, *costs, row.tokens_per_second]
