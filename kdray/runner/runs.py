"""The MLflow runs of a study: which run follows which model, kept in our own storage.

A model is followed by one run in each study that uses it. Its id is written down when the run is
made, so a study that was killed goes on with the same runs and each curve stays one curve.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from kdray.artifacts import Key, Store, write_json
from kdray.config.experiment import Experiment
from kdray.tracking import RunStatus, Tracker, open_tracker

STUDY = "study"


@dataclass
class Runs:
    """Run ids of one study, and the tracker they belong to."""

    tracker: Tracker
    file: Path  # what holds the ids
    ids: dict[str, str]
    parent: str = ""

    @classmethod
    def open(cls, experiment: Experiment, store: Store) -> "Runs":
        """Reach the tracker and make or continue the study's own run.

        Raises:
            InputError: the tracker cannot be reached.
        """
        config = experiment.execution.tracking
        tracker = open_tracker(config, storage=store.root, experiment=experiment.name)
        recipe = experiment.recipe.model_dump(mode="json")
        fingerprint = Key("study", 1, recipe).fingerprint
        file = store.root / "tracking" / f"{experiment.name}-{fingerprint}.json"
        ids = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        runs = cls(tracker, file, ids)
        runs.parent = runs.ensure(
            STUDY,
            f"{experiment.name}-{fingerprint[:8]}",
            {"kdray.role": STUDY, "kdray.recipe": fingerprint},
            recipe,
        )
        tracker.log_config(runs.parent, experiment.model_dump(mode="json"))
        return runs

    def ensure(
        self,
        key: str,
        name: str,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        *,
        began: float | None = None,
    ) -> str:
        """The run written down under `key`, continued, or a new one. -> its id."""
        known = self.ids.get(key) or None
        run_id = self.tracker.ensure_run(
            name,
            parent_id=None if key == STUDY else self.parent,
            run_id=known,
            tags=tags,
            params=params,
            began=began,
        )
        if run_id != known:
            self.ids[key] = run_id
            write_json(self.file, self.ids)
        return run_id

    def close(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """End the study's own run as it went, and those that it leaves unfinished; a callback."""
        status: RunStatus = "FINISHED"
        if kind is not None:
            status = "FAILED" if issubclass(kind, Exception) else "KILLED"
            self.tracker.finish_children(self.parent, "KILLED")
        self.tracker.finish(self.parent, status)
        return False
