"""Markdown from the lines that `training.py` prints."""

import json
from collections.abc import Iterable
from typing import Any

COLUMNS = ("model", "precision", "system", "layout", "tokens/s", "best", "GFLOP/s", "MFU",
           "of in-shape", "to marian", "to bare")  # fmt: skip


def render(lines: Iterable[str]) -> str:
    """A table of all systems, below what the machine is."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines if line.strip()]
    facts = [
        f"- {name}: {value}" for row in rows if "processor" in row for name, value in row.items()
    ]
    table = [COLUMNS, ["---"] * len(COLUMNS), *(_cells(row) for row in rows if "system" in row)]
    return "\n".join([*facts, "", *("| " + " | ".join(cells) + " |" for cells in table)]) + "\n"


def _cells(row: dict[str, Any]) -> list[str]:
    layout = f"{row['workers']}x{row['threads']}"
    return [
        row["model"],
        row["precision"],
        f"{row['system']} {row['form']}".strip(),
        layout,
        str(row["tokens_per_second"]),
        str(row["best"]),
        f"{row['gflops']:.1f}",
        f"{row['mfu']:.0%}",
        f"{row['gflops'] / row['in_shape']:.0%}",
        _ratio(row, "marian"),
        _ratio(row, f"bare {layout}"),
    ]


def _ratio(row: dict[str, Any], to: str) -> str:
    """The median ratio of speeds, and its quartiles."""
    for name, (low, median, high) in row["faster_than"].items():
        if name.startswith(to):
            return f"{median:.2f} ({low:.2f} to {high:.2f})"
    return ""
