"""The MLflow runs of a study: which run follows which model, kept in our own storage.

A model is followed by one run in each study that uses it. Its id is written down when the run is
made, so a study that was killed goes on with the same runs and each curve stays one curve.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from kdray.artifacts import Key, Store, write_json
from kdray.config.experiment import Experiment
from kdray.tracking import NullTracker, RunStatus, Tracker, open_tracker

STUDY = "study"


@dataclass
class Runs:
    """Run ids of one study, and the tracker they belong to."""

    tracker: Tracker
    file: Path
    ids: dict[str, str] = field(default_factory=dict)
    parent: str = ""
    going_on: set[str] = field(default_factory=set)  # runs of models that have not ended

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
        folder = store.folder("tracking")
        folder.mkdir(exist_ok=True)
        file = folder / f"{experiment.name}-{fingerprint}.json"
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

    @classmethod
    def none(cls, store: Store) -> "Runs":
        """Runs that nobody follows."""
        return cls(NullTracker(), store.folder("tracking") / "none.json")

    def ensure(
        self, key: str, name: str, tags: Mapping[str, str], params: Mapping[str, Any]
    ) -> str:
        """The run written down under `key`, continued, or a new one. -> its id."""
        known = self.ids.get(key) or None
        run_id = self.tracker.ensure_run(
            name,
            parent_id=None if key == STUDY else self.parent,
            run_id=known,
            tags=tags,
            params=params,
        )
        if run_id != known:
            self.ids[key] = run_id
            write_json(self.file, self.ids)
        if key != STUDY:
            self.going_on.add(run_id)
        return run_id

    def finish(
        self, run_id: str, history: Sequence[Mapping[str, float]], scores: Mapping[str, float]
    ) -> None:
        """Send what is missing of a model's curves, and its scores; end its run."""
        self.tracker.log_history(run_id, history)
        self.tracker.log_metrics(run_id, scores)
        self.tracker.finish(run_id, "FINISHED")
        self.ended(run_id)

    def fail(self, run_id: str, history: Sequence[Mapping[str, float]]) -> None:
        """Send what is missing of the curves of a model that could not be made; end its run."""
        self.tracker.log_history(run_id, history)
        self.tracker.finish(run_id, "FAILED")
        self.ended(run_id)

    def ended(self, run_id: str) -> None:
        """Be told that a run has ended."""
        self.going_on.discard(run_id)

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
            for run_id in sorted(self.going_on):
                self.tracker.finish(run_id, "KILLED")
        self.tracker.finish(self.parent, status)
        return False
