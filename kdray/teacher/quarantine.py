"""Rows that cannot be translated: each is kept with its reason and its text, and the rest goes on.

An error of a few rows is theirs: the rows that were given together are halved until the guilty ones
stand alone. An error of many rows is the teacher's, and ends the work.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kdray.errors import DataError, KdrayError, StageFailed
from kdray.model.memory import halve, is_out_of_memory, padded_cuts
from kdray.teacher.attempts import Attempt
from kdray.teacher.engine import Translation
from kdray.text.batching import Rows

FILE = "quarantine.jsonl"
SHARE = 0.05  # of a shard's rows; where more are refused, the teacher is at fault
TOO_LONG = "longer than the teacher can read"
DEADLY = "a process died each time that it translated this"

Translations = list[list[Translation]]


@dataclass(slots=True)
class Careful:
    """Translates rows, and finds those that cannot be.

    translate: gives each of some rows its translations. attempt: what earlier processes died with.
    refused: why, by row.
    """

    translate: Callable[[Sequence[int]], Translations]
    attempt: Attempt
    refused: dict[int, str] = field(default_factory=dict)

    def each(self, rows: Sequence[int], lengths: Rows) -> dict[int, list[Translation]]:
        """The translations of each of these rows; of a row that is refused, it has none.

        lengths: of all rows, in tokens, about.

        Raises:
            DataError: the teacher gives more or fewer translations than it was given rows.
            StageFailed: too many rows fail; it is not theirs.
        """
        done: dict[int, list[Translation]] = {}
        for part in self._parts(np.array(rows, dtype=np.int64), lengths):
            self.attempt.hold(part)
            done |= dict(zip(part, self._some(part, of=len(rows)), strict=True))
        return done

    def _parts(self, rows: Rows, lengths: Rows) -> Iterator[list[int]]:
        """All rows together; after a death in batches, and those that are suspected one by one."""
        attempt = self.attempt
        if not attempt.deaths:
            if len(rows):
                yield rows.tolist()
            return
        ordered = rows[lengths[rows].argsort(kind="stable")]
        deadly, suspects = (
            np.isin(ordered, list(which)) for which in (attempt.deadly, attempt.suspects)
        )
        self.refused |= dict.fromkeys(ordered[deadly].tolist(), DEADLY)
        for row in ordered[suspects & ~deadly].tolist():
            yield [row]
        others = ordered[~suspects & ~deadly]
        for part in np.split(others, padded_cuts(lengths[others])):
            if len(part):
                yield part.tolist()

    def _some(self, rows: list[int], *, of: int) -> Translations:
        try:
            return self._checked(rows)
        except KdrayError:
            raise
        except Exception as error:
            if is_out_of_memory(error) and halve():
                return self._some(rows, of=of)
            if len(rows) > 1:
                middle = len(rows) // 2
                return [
                    each
                    for part in (rows[:middle], rows[middle:])
                    for each in self._some(part, of=of)
                ]
            said = " ".join(str(error).split()) or type(error).__name__
            self.refused[rows[0]] = said[:300]
            if len(self.refused) > max(1, SHARE * of):
                raise StageFailed(
                    f"the teacher failed with {len(self.refused)} of {of} sources that were "
                    f"translated together, the last time because of: {said[:300]}; so many rows "
                    "are not put into quarantine; repair the teacher and run again"
                ) from error
            return [[]]

    def _checked(self, rows: list[int]) -> Translations:
        translations = self.translate(rows)
        if len(translations) != len(rows):
            raise DataError(
                f"the teacher gave translations of {len(translations)} sources when it was given "
                f"{len(rows)}; it must give each source its own"
            )
        if any(not math.isfinite(hyp.score) for best in translations for hyp in best):
            raise ValueError("the score of a translation is not finite")
        return translations


def write_quarantine(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write why some pairs have no row; nothing if there are none."""
    if rows:
        lines = (json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows)
        (folder / FILE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def join_quarantine(shards: Sequence[Path], folder: Path) -> None:
    """Put the quarantines of shards one after another."""
    kept = [shard / FILE for shard in shards if (shard / FILE).exists()]
    if kept:
        with (folder / FILE).open("wb") as file:
            for each in kept:
                file.write(each.read_bytes())
