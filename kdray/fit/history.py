"""The history of a training run: metrics over steps, one JSON object a line."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from kdray.errors import StageFailed
from kdray.storage.whole import whole

HISTORY = "history.jsonl"


class History:
    """Metrics over steps: one JSON object a line, each with `step` and `time`.

    Opening it drops rows of updates that a resumed run will make again.
    """

    def __init__(self, path: Path, *, step: int) -> None:
        self.path = path
        kept = certain_rows(path, step)
        with whole(path) as aside:
            aside.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")

    def append(self, row: Mapping[str, float]) -> None:
        """Add a row.

        Raises:
            StageFailed: it cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(row)) + "\n")
        except OSError as error:
            raise StageFailed(
                f"{self.path}: the row of update {row['step']:.0f} could not be added "
                f"({error.strerror}); make room, or make the file writable, and run the same "
                "command again"
            ) from error


def read_history(path: Path) -> Sequence[dict[str, float]]:
    """All whole rows; a line that a kill cut short is not one."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def best_values(rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """The best value of each quality on dev, as `best_dev_bleu`, and the update it was reached."""
    best: dict[str, float] = {}
    for name, sign in (("bleu", 1), ("chrf", 1), ("loss", -1)):
        metric = f"dev/{name}"
        found = [row for row in rows if math.isfinite(row.get(metric, math.nan))]
        if found:
            row = max(found, key=lambda row: sign * row[metric])
            best[f"best_dev_{name}"] = row[metric]
            best[f"best_dev_{name}_update"] = row["step"]
    return best


def certain_rows(path: Path, step: int) -> Sequence[dict[str, float]]:
    """The rows up to a step: those that a resumed run does not make again."""
    return [row for row in read_history(path) if row["step"] <= step]
