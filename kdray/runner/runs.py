"""The MLflow runs of a study: which run follows which model, kept in our own storage.

A model is followed by one run in each study that uses it. The run begins in the process that
trains the model, and is found again by its tags. Its id is written down when the driver first
learns of it, so a study that was killed goes on with the same runs and each curve stays one curve.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdray.artifacts import Key, Store, read_json, write_json
from kdray.config.experiment import Experiment
from kdray.tracking import NOTE, ROLE, PlannedRun, RunStatus, Tracker, open_tracker, origin

STUDY = "study"


@dataclass
class StudyRuns:
    """Run ids of one study, and the tracker they belong to."""

    tracker: Tracker
    file: Path  # what holds the ids
    ids: dict[str, str]
    origin: Mapping[str, str] = field(default_factory=dict)  # tags of every run
    question: str = ""  # what the study asks
    parent: str = ""  # the study's own run; it has no parent itself

    @classmethod
    def open(cls, experiment: Experiment, store: Store) -> "StudyRuns":
        """Reach the tracker and make or continue the study's own run.

        Raises:
            InputError: the tracker cannot be reached.
        """
        config = experiment.execution.tracking
        tracker = open_tracker(config, storage=store.root, experiment=experiment.name)
        recipe = experiment.recipe.model_dump(mode="json")
        fingerprint = Key("study", 1, recipe).fingerprint
        file = store.root / "tracking" / f"{experiment.name}-{fingerprint}.json"
        ids = read_json(file) if file.exists() else {}
        runs = cls(tracker, file, ids, origin(), question_of(experiment))
        name = f"{experiment.name}-{fingerprint[:8]}"
        tags = {ROLE: STUDY, "kdray.recipe": fingerprint, NOTE: runs.question}
        runs.parent = runs.ensure(STUDY, name, tags, recipe)
        tracker.log_config(runs.parent, experiment.model_dump(mode="json"))
        return runs

    def planned(
        self, key: str, name: str, tags: Mapping[str, str], params: Mapping[str, Any]
    ) -> PlannedRun:
        """The run written down under `key`, or else a new one, which has not begun yet."""
        run_id, every = self.ids.get(key), {**self.origin, **tags}
        return PlannedRun(self.tracker, name, self.parent, run_id, every, params)

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
        run = self.planned(key, name, tags, params)
        run_id = run.begin(began=began)
        if run_id and run_id != run.run_id:
            self.ids[key] = run_id
            write_json(self.file, self.ids)
        return run_id

    @contextmanager
    def ending(self) -> Iterator[None]:
        """End the study's own run as the body went, and those that it leaves unfinished."""
        status: RunStatus = "FINISHED"
        try:
            yield
        except BaseException as error:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            self.tracker.finish_children(self.parent, "KILLED")
            raise
        finally:
            self.tracker.finish(self.parent, status)


def question_of(experiment: Experiment) -> str:
    """What a study asks, in one line."""
    recipe = experiment.recipe
    axes = f", along {', '.join(recipe.axes)}" if recipe.axes else ""
    seeds = len(recipe.students.seeds)
    return (
        f"Compares {', '.join(recipe.methods)}, of sizes {', '.join(recipe.students.sizes)} with "
        f"{seeds} seed{'s' if seeds > 1 else ''} each{axes}."
    )
