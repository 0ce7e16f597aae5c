"""What does MLflow hold of a run besides its curves?"""

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from tracking_probe import NOTHING, curve, start

from kdray.tracking import RunStatus, Tracker
from kdray.tracking.mlflow_tracker import flat_params

pytestmark = pytest.mark.slow


def test_students_stand_below_their_study(tracker: Tracker, client: MlflowClient) -> None:
    study = tracker.ensure_run("study", parent_id=None, run_id=None, tags=NOTHING, params={})
    student = tracker.ensure_run(
        "seed-1", parent_id=study, run_id=None, tags={"method": "hybrid"}, params={}
    )
    run = client.get_run(student)
    assert run.info.run_name == "seed-1"
    assert run.data.tags["mlflow.parentRunId"] == study
    assert run.data.tags["method"] == "hybrid"
    assert "mlflow.parentRunId" not in client.get_run(study).data.tags


def test_ended_run_is_continued_under_its_id(tracker: Tracker, client: MlflowClient) -> None:
    run_id = start(tracker, lr=0.1)
    tracker.finish(run_id, "FAILED")
    assert client.get_run(run_id).info.status == "FAILED"
    again = tracker.ensure_run(
        "student", parent_id="p", run_id=run_id, tags={"attempt": "2"}, params={"lr": 0.1}
    )
    run = client.get_run(again)
    assert again == run_id
    assert run.info.status == "RUNNING"
    assert (run.data.tags["attempt"], run.data.tags["mlflow.parentRunId"]) == ("2", "p")


def test_a_child_is_known_by_its_fingerprint(tracker: Tracker, client: MlflowClient) -> None:
    def begin(parent: str, **tags: str) -> str:
        named = {f"kdray.{name}": value for name, value in tags.items()}
        return tracker.ensure_run("trial", parent_id=parent, run_id=None, tags=named, params={})

    study, other = start(tracker), start(tracker)
    first = begin(study, fingerprint="f1", role="trial")
    tracker.finish(first, "FAILED")
    assert begin(study, fingerprint="f1", role="trial") == first
    assert client.get_run(first).info.status == "RUNNING"
    others = [
        begin(study, fingerprint="f2", role="trial"),
        begin(study, fingerprint="f1", role="student"),
        begin(other, fingerprint="f1", role="trial"),
        begin(study, role="trial"),
        begin(study, role="trial"),
    ]
    assert len({first, *others}) == 6


def test_a_run_may_begin_and_end_in_the_past(tracker: Tracker, client: MlflowClient) -> None:
    run_id = tracker.ensure_run(
        "student", parent_id=None, run_id=None, tags=NOTHING, params={}, began=1_700_000_000.5
    )
    tracker.finish(run_id, "FINISHED", ended=1_700_000_060.25)
    info = client.get_run(run_id).info
    assert (info.start_time, info.end_time) == (1_700_000_000_500, 1_700_000_060_250)


def test_what_finished_children_were_told_is_known(tracker: Tracker, client: MlflowClient) -> None:
    def child(parent: str, status: RunStatus, told: str | None) -> str:
        run_id = tracker.ensure_run("s", parent_id=parent, run_id=None, tags=NOTHING, params={})
        tracker.finish(run_id, status, told=told)
        return run_id

    study, other = start(tracker), start(tracker)
    kept = {child(study, "FINISHED", digest): digest for digest in ("a", "b")}
    for parent, status, told in ((study, "FAILED", "c"), (other, "FINISHED", "d")):
        child(parent, status, told)
    child(study, "FINISHED", None)
    deleted = child(study, "FINISHED", "e")
    client.delete_run(deleted)
    assert tracker.told(study) == kept
    assert tracker.told("") == {}
    tracker.log_text("0" * 32, "text", "file")  # fails: there is no such run
    assert child(study, "FINISHED", "f") not in tracker.told(study), "something may lack"


def test_run_that_is_gone_is_created_anew(tracker: Tracker, client: MlflowClient) -> None:
    deleted = start(tracker)
    client.delete_run(deleted)
    assert start(tracker, deleted) not in ("", deleted)
    assert start(tracker, "0" * 32) not in ("", "0" * 32)


def test_params_are_dotted_and_keep_their_first_value(
    tracker: Tracker, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    many = {f"p{i}": i for i in range(250)}  # more than one batch
    run_id = start(tracker, recipe={"lr": 3e-4, "seeds": [1, 2]}, note=None, many=many)
    params = client.get_run(run_id).data.params
    assert params["recipe.lr"] == "0.0003"
    assert params["recipe.seeds"] == "[1, 2]"
    assert params["note"] == "null"
    assert len(params) == 253
    assert caplog.text == ""
    start(tracker, run_id, recipe={"lr": 9.0, "new": True})
    params = client.get_run(run_id).data.params
    assert (params["recipe.lr"], params["recipe.new"]) == ("0.0003", "true")
    assert "recipe.lr" in caplog.text


def test_param_over_the_limit_is_whole_in_the_artifact(
    tracker: Tracker, client: MlflowClient, tmp_path: Path
) -> None:
    run_id = start(tracker, text={"long": "ä" * 10_000})
    assert start(tracker, run_id, text={"long": "ä" * 10_000}) == run_id
    stored = client.get_run(run_id).data.params["text.long"]
    assert stored.startswith("äää")
    assert stored.endswith("config.yaml)")
    whole = Path(client.download_artifacts(run_id, "config.yaml", str(tmp_path)))
    assert yaml.safe_load(whole.read_text("utf-8")) == {"text": {"long": "ä" * 10_000}}


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text("xyé ", max_size=4)
    | st.lists(st.integers())
)
KEYS = st.text("abc", min_size=1, max_size=2)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(KEYS, st.recursive(LEAVES, lambda x: st.dictionaries(KEYS, x), max_leaves=8))
)
def test_every_leaf_of_a_configuration_is_one_param(config: dict[str, object]) -> None:
    def leaves(value: object) -> int:
        return sum(map(leaves, value.values())) if isinstance(value, dict) and value else 1

    assert len(flat_params(config)) == sum(map(leaves, config.values()))


def test_configuration_and_files_are_stored(
    tracker: Tracker, client: MlflowClient, storage: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "report.html").write_text("<p>")
    run_id = start(tracker)
    tracker.log_config(run_id, {"z": 1, "a": {"é": [1, "x"]}})
    tracker.log_artifacts(run_id, tmp_path / "in", "report")
    text = Path(client.download_artifacts(run_id, "config.yaml", str(tmp_path))).read_text("utf-8")
    assert text == "z: 1\na:\n  é:\n  - 1\n  - x\n"
    tracker.log_config(run_id, {"uri": "postgresql://ann:hunter2@db/kd?password=hunter2"})
    text = Path(client.download_artifacts(run_id, "config.yaml", str(tmp_path))).read_text("utf-8")
    assert "db/kd" in text
    assert "hunter2" not in text
    assert [file.path for file in client.list_artifacts(run_id, "report")] == ["report/report.html"]
    assert len(list((storage / "mlartifacts").glob(f"{run_id}/**/report.html"))) == 1


def test_system_metrics_are_recorded_and_continued(
    tracker: Tracker, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    run_id, name = start(tracker), "system/cpu_utilization_percentage"

    def train_until_recorded() -> None:
        before = len(curve(client, run_id, name))
        deadline = time.monotonic() + 20
        with tracker.system_metrics(run_id):
            while len(curve(client, run_id, name)) == before and time.monotonic() < deadline:
                time.sleep(0.05)
            raise KeyError  # an error of the training run is not the tracker's

    for attempt in (1, 2):
        with pytest.raises(KeyError):
            train_until_recorded()
        assert len(curve(client, run_id, name)) >= attempt
    steps = [step for step, _ in curve(client, run_id, name)]
    assert steps == list(range(len(steps)))
    assert tracker.last_step(run_id) == -1  # they are no training steps
