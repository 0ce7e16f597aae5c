"""However a study ends, its runs in MLflow end with the right status."""

import contextlib
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tracking_probe import NOTHING

from kdray.errors import StageFailed
from kdray.runner.runs import STUDY, StudyRuns
from kdray.tracking import Tracker

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("error", "study", "unfinished"),
    [
        (None, "FINISHED", "RUNNING"),
        (KeyboardInterrupt(), "KILLED", "KILLED"),
        (StageFailed("no room"), "FAILED", "KILLED"),
    ],
)
def test_no_run_is_left_running_by_a_study_that_was_stopped(
    tracker: Tracker,
    client: MlflowClient,
    tmp_path: Path,
    error: BaseException | None,
    study: str,
    unfinished: str,
) -> None:
    runs = StudyRuns(tracker, tmp_path / "ids.json", {})
    runs.parent = runs.ensure(STUDY, "study", NOTHING, {})
    made, failed, begun = (runs.ensure(name, name, NOTHING, {}) for name in ("a", "b", "c"))
    tracker.finish(made, "FINISHED")
    tracker.finish(failed, "FAILED")
    with contextlib.suppress(KeyboardInterrupt, StageFailed), runs.ending():
        if error is not None:
            raise error
    ended = [client.get_run(run).info.status for run in (runs.parent, made, failed, begun)]
    assert ended == [study, "FINISHED", "FAILED", unfinished]


def test_runs_of_processes_that_died_are_ended(tracker: Tracker, client: MlflowClient) -> None:
    def begin(parent: str | None) -> str:
        return tracker.ensure_run("run", parent_id=parent, run_id=None, tags=NOTHING, params={})

    parent, other = begin(None), begin(None)
    dead, done, elsewhere = begin(parent), begin(parent), begin(other)
    tracker.finish(done, "FINISHED")
    tracker.finish_children(parent, "FAILED")
    statuses = [client.get_run(run).info.status for run in (dead, done, elsewhere, parent)]
    assert statuses == ["FAILED", "FINISHED", "RUNNING", "RUNNING"]
