"""What may the rest of kdray ask of a tracker? The base class itself tracks nothing."""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FINGERPRINT = "kdray.fingerprint"
"""The tag that says which model a run follows."""
ROLE = "kdray.role"
"""The tag that says what a run is of: a study, a teacher, signals, a student, a trial."""
TOLD = "kdray.told"
"""The tag with a digest of all that a finished run was told."""
NOTE = "mlflow.note.content"
"""The tag that MLflow shows as the description of a run or an experiment, in Markdown."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """A part of a corpus that a run read.

    Attributes:
        name: of the corpus and the part.
        digest: a checksum of its file, at most 36 characters.
        context: what it is read for: `training`, `validation` or `test`.
        source: where its file is.
        rows: pairs in it.
    """

    name: str
    digest: str
    context: str
    source: str
    rows: int


RunStatus = Literal["FINISHED", "FAILED", "KILLED"]


class Tracker:
    """Tracks training runs. A tracker that fails logs a warning; no method raises.

    One process at a time writes a run; threads may share a tracker, and a pickled one goes on in
    another process. The empty run id stands for a run that could not be created; calls with it do
    nothing. The methods of this class store nothing and hand run ids back, so that tracking can be
    switched on again. `MlflowTracker` overrides them.
    """

    def ensure_run(
        self,
        name: str,
        *,
        parent_id: str | None,
        run_id: str | None,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        began: float | None = None,
    ) -> str:
        """Continue the run `run_id` if it still exists, or create one; it is RUNNING afterwards.

        Without a `run_id`, a child of the parent that has the same `FINGERPRINT` and `ROLE` among
        its tags is continued. A new run begins at `began` (unix seconds), or now.

        `params` are nested; they are stored under dotted names. Params that the run has already
        keep their first value, as MLflow allows no other; a warning names those that differ.

        Returns:
            The run's id, by which it is continued after a crash; empty if there is no run.
        """
        return run_id or ""

    def log_history(self, run_id: str, rows: Iterable[Mapping[str, float]]) -> None:
        """Add points to the curves of a run: each is stored exactly once, however often given.

        A row holds `step`, `time` (unix seconds) and metrics. The steps of a metric only ascend: a
        point at or below its last stored step is stored already, so a resumed run may hand over its
        whole history. Points that cannot be sent now are kept until a later call, or `finish`. A
        value that is not finite is left out with a warning.
        """

    def last_step(self, run_id: str) -> int:
        """The last stored step of a run, not counting system metrics; -1 if there is none."""
        return -1

    def log_scores(self, run_id: str, scores: Mapping[str, float]) -> None:
        """Store scores at the run's last step; a score that is there already is not repeated."""

    def log_config(self, run_id: str, config: Mapping[str, Any]) -> None:
        """Store a configuration of plain values as `config.yaml`."""

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        """Store a text as a file among the run's artifacts."""

    def log_data(self, run_id: str, datasets: Sequence[DataSet]) -> None:
        """Say which data a run read. What it was told before is not repeated."""

    def describe_experiment(self, text: str) -> None:
        """Store the description of the experiment, which MLflow shows above its runs."""

    def describe(self, run_id: str, text: str) -> None:
        """Store the description of a run."""

    def pages(self, run_id: str) -> Mapping[str, str]:
        """What MLflow's pages have of a study, by names for a person, and their addresses."""
        return {}

    def log_model(
        self,
        run_id: str,
        write: Callable[[Path], None],
        *,
        example: Sequence[str],
        register_as: str | None,
    ) -> None:
        """Keep a student as the model of a finished run, once; see `kdray.tracking.models`.

        `write` fills a folder with it, and is called only if the run has no model.
        """

    def log_artifacts(self, run_id: str, folder: Path, artifact_path: str) -> None:
        """Store the content of a folder under `artifact_path`."""

    def system_metrics(self, run_id: str) -> contextlib.AbstractContextManager[None]:
        """Record the use of this machine's processors, memory, disk and network in the body."""
        return contextlib.nullcontext()

    def told(self, parent_id: str) -> Mapping[str, str]:
        """What `finish` kept of the finished child runs that are still there, by their ids."""
        return {}

    def finish(
        self,
        run_id: str,
        status: RunStatus,
        *,
        ended: float | None = None,
        told: str | None = None,
    ) -> None:
        """Send the points that are kept, and end the run: at `ended` (unix seconds), or now.

        `told`, a digest of all that the run was told, is kept with it, unless something failed.
        """

    def finish_children(self, parent_id: str, status: RunStatus) -> None:
        """End the child runs that are still RUNNING, because their processes stopped or died."""
