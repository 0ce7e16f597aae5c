"""Renders the lines that `training.py` prints as Markdown."""

import json
from collections.abc import Iterable
from typing import Any

COLUMNS = ("model", "precision", "system", "layout", "tokens/s", "best", "GFLOP/s", "MFU",
           "of in-shape")  # fmt: skip


def render(lines: Iterable[str]) -> str:
    """A list of facts about the machine, and a table of all systems."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines if line.strip()]
    facts = [
        f"- {name}: {value}" for row in rows if "processor" in row for name, value in row.items()
    ]
    raced = [row for row in rows if "system" in row]
    others = [name for name in dict.fromkeys(row["system"] for row in raced) if name != "kdray"]
    columns = [*COLUMNS, *(f"to {name}" for name in others)]
    table = [columns, ["---"] * len(columns), *(_cells(row, others) for row in raced)]
    return "\n".join([*facts, "", *("| " + " | ".join(cells) + " |" for cells in table)]) + "\n"


def _cells(row: dict[str, Any], others: Iterable[str]) -> list[str]:
    return [
        row["model"],
        row["precision"],
        f"{row['system']} {row['form']}".strip(),
        _layout(row),
        str(row["tokens_per_second"]),
        str(row["best"]),
        f"{row['gflops']:.1f}",
        f"{row['mfu']:.0%}",
        f"{row['gflops'] / row['in_shape']:.0%}",
        *(_ratio(row, other) for other in others),
    ]


def _layout(row: dict[str, Any]) -> str:
    return f"{row['workers']}x{row['threads']}"


def _ratio(row: dict[str, Any], to: str) -> str:
    """The median ratio of speeds with its quartiles; empty for a system against itself.

    Of a system that raced in several layouts, the layout of the row is taken.
    """
    if row["system"] == to:
        return ""
    found = {name: ratio for name, ratio in row["faster_than"].items() if name.split()[0] == to}
    if len(found) > 1:
        found = {name: found[name] for name in found if name.split()[1] == _layout(row)}
    return "".join(
        f"{median:.2f} ({low:.2f} to {high:.2f})" for low, median, high in found.values()
    )
