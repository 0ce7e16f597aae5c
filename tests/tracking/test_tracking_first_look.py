"""What a person sees first of an experiment and its runs: kind, descriptions, origin, data, pages.

The pages were looked at in a browser; here is what makes them appear.
"""

import sys
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from mlflow import MlflowClient
from tracking_probe import start

from kdray.fit.history import best_values
from kdray.tracking import NOTE, DataSet, MlflowTracker, Tracker, origin
from kdray.tracking.pages import list_page

SECRET = "hun#te:r2"


@pytest.mark.slow
def test_an_experiment_opens_at_its_runs(tracker: MlflowTracker, client: MlflowClient) -> None:
    tags = client.get_experiment(tracker.experiment_id).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert tags["mlflow.experiment.primaryMetric.name"] == "dev_final/bleu"
    assert tags["mlflow.experiment.primaryMetric.greaterIsBetter"] == "True"


@pytest.mark.slow
def test_descriptions_are_replaced(tracker: MlflowTracker, client: MlflowClient) -> None:
    run_id = start(tracker)
    for text in ("first", "**Take a.**\n\nIt is better."):
        tracker.describe(run_id, text)
        tracker.describe_experiment(text)
    assert client.get_run(run_id).data.tags[NOTE] == "**Take a.**\n\nIt is better."
    assert client.get_experiment(tracker.experiment_id).tags[NOTE].startswith("**Take a.**")


@pytest.mark.slow
def test_data_are_told_once(tracker: Tracker, client: MlflowClient) -> None:
    run_id = start(tracker)
    data = [
        DataSet("train", "a" * 32, "training", "/runs/corpus/1/train.parquet", 350),
        DataSet("test-flickr", "b" * 32, "test", "/runs/corpus/1/test-flickr.parquet", 50),
    ]
    tracker.log_data(run_id, data)
    tracker.log_data(run_id, data)  # by a command that finds everything made
    inputs = client.get_run(run_id).inputs.dataset_inputs
    told = {(each.dataset.name, each.dataset.digest, each.tags[0].value) for each in inputs}
    assert told == {("train", "a" * 32, "training"), ("test-flickr", "b" * 32, "test")}
    assert len(inputs) == 2


@pytest.mark.slow
def test_a_text_is_a_file_of_the_run(
    tracker: Tracker, client: MlflowClient, tmp_path: Path
) -> None:
    run_id = start(tracker)
    for text in ("old", "source\treference\n"):
        tracker.log_text(run_id, text, "samples/dev.tsv")
    path = client.download_artifacts(run_id, "samples/dev.tsv", str(tmp_path))
    assert Path(path).read_text() == "source\treference\n"


@pytest.mark.slow
def test_a_run_is_continued_by_another_command(tracker: Tracker, client: MlflowClient) -> None:
    """Who began it, and how it is described, are not what it is known by."""
    study = start(tracker)
    same = {"kdray.role": "student", "kdray.fingerprint": "f"}

    def begin(**tags: str) -> str:
        return tracker.ensure_run(
            "s", parent_id=study, run_id=None, tags={**same, **tags}, params={}
        )

    first = begin(**{"mlflow.user": "ann", NOTE: "it's of `ann`"})
    assert begin(**{"mlflow.user": "bob", "kdray.version": "9"}) == first
    assert client.get_run(first).data.tags["mlflow.user"] == "bob"


def test_the_origin_is_the_command_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "my study.yaml"
    config.touch()
    uri = f"--set=execution.tracking.uri=https://ann:{SECRET}@host"
    monkeypatch.setattr(
        sys, "orig_argv", ["/opt/venv/bin/python", "-m", "kdray.study", str(config), uri]
    )
    tags = origin()
    assert tags["mlflow.source.name"] == "python -m kdray.study my study.yaml"
    assert tags["kdray.command"].startswith(f"python -m kdray.study '{config}' ")
    assert "https://***@host" in tags["kdray.command"]
    assert not any(SECRET in value for value in tags.values())
    assert len(tags.get("mlflow.source.git.commit", "0" * 40)) == 40


def test_a_user_without_a_name_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert "mlflow.user" not in origin()


def test_a_list_of_runs_is_flat_and_sorted() -> None:
    page = list_page("7", "student", metric="dev_final/bleu", charts=True)
    path, _, query = page.partition("?")
    assert path == "#/experiments/7/runs"
    assert {name: value for name, (value,) in parse_qs(query).items()} == {
        "workflowType": "machine_learning",
        "searchFilter": "tags.`kdray.role` = 'student'",
        "orderByKey": "metrics.`dev_final/bleu`",
        "orderByAsc": "false",
        "compareRunsMode": "CHART",
    }


def test_best_values_are_those_of_any_update() -> None:
    rows = [
        {"step": 1, "train/loss": 9.0},
        {"step": 5, "dev/bleu": 3.0, "dev/loss": 2.0},
        {"step": 10, "dev/bleu": 7.0, "dev/loss": float("nan")},
        {"step": 15, "dev/bleu": 5.0, "dev/loss": 2.5},
    ]
    assert best_values(rows) == {
        "best_dev_bleu": 7.0,
        "best_dev_bleu_update": 10,
        "best_dev_loss": 2.0,
        "best_dev_loss_update": 5,
    }
    assert best_values([]) == {}
