"""A run that is planned in one process and begins in another, when its training does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kdray.tracking.contract import Tracker


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """What a run is made of, as plain data. `run_id` is that of the run it continues, if known."""

    tracker: Tracker
    name: str
    parent_id: str | None
    run_id: str | None
    tags: Mapping[str, str]
    params: Mapping[str, Any]

    def begin(self, *, began: float | None = None) -> str:
        """Begin the run, now or at `began` (unix seconds), or continue it. -> its id."""
        return self.tracker.ensure_run(
            self.name,
            parent_id=self.parent_id,
            run_id=self.run_id,
            tags=self.tags,
            params=self.params,
            began=began,
        )
