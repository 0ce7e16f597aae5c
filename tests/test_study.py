"""The whole path as a user runs it: in processes of its own, on a real Ray session."""

import json

import mlflow
import pytest
from micro_study import CONFIG, copied, run, scores
from notebook_cells import COMPARE, SEARCH, execute

from kdray.config.costs import read_costs
from kdray.tracking import NOTE

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "micro.yaml"
    path.write_text(CONFIG)
    return path


def test_study_reports_every_model(undisturbed):
    found = {(row["role"], row["method"], row["split"]) for row in scores(undisturbed)}
    models = [("teacher", "teacher"), ("student", "cross_entropy"), ("student", "hybrid")]
    assert found == {(*model, split) for model in models for split in ("dev", "test-generated")}
    folder = undisturbed / "reports" / "micro"
    assert (folder / "report.html").stat().st_size > 10_000
    assert "hybrid" in (folder / "report.md").read_text()
    kinds = {row.update.method["kind"] for row in read_costs(folder / "costs.json").costs}
    assert kinds == {"cross_entropy", "hybrid"}


def test_study_is_followed_by_one_run_for_each_model(undisturbed):
    client = mlflow.MlflowClient(f"sqlite:///{undisturbed}/mlflow.db")
    experiment = client.get_experiment_by_name("micro")
    runs = client.search_runs([experiment.experiment_id])
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id]
    assert len(parents) == 1
    assert {r.info.status for r in runs} == {"FINISHED"}
    signals = [r for r in children if r.data.tags["kdray.role"] == "signals"]
    assert {r.info.run_name for r in signals} >= {"hypotheses", "topk on reference"}
    for run_of_it in signals:
        assert run_of_it.data.metrics["decode/sentences_per_second"] > 0
        assert run_of_it.data.metrics["decode/seconds_left"] == 0
        rates = client.get_metric_history(run_of_it.info.run_id, "decode/tokens_per_second")
        assert [point.step for point in rates][-1] == int(run_of_it.data.params["pairs"])
    children = [r for r in children if r not in signals]
    assert len(children) == 3
    for child in children:
        steps = [m.step for m in client.get_metric_history(child.info.run_id, "dev/loss")]
        assert steps in ([10, 20, 30], [200])  # a student's, the teacher's
        assert "test/generated/bleu" in child.data.metrics
        points = client.get_metric_history(child.info.run_id, "dev/loss")
        assert child.info.start_time <= points[0].timestamp <= child.info.end_time
    (teacher,) = [child for child in children if child.info.run_name == "teacher"]
    students = [child for child in children if child is not teacher]
    assert all(child.info.start_time >= teacher.info.end_time for child in students)


def test_mlflow_has_the_verdict_the_data_and_the_winner(undisturbed):
    client = mlflow.MlflowClient(f"sqlite:///{undisturbed / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("micro")
    runs = client.search_runs([experiment.experiment_id])
    roles = {each.info.run_id: each.data.tags["kdray.role"] for each in runs}
    (study,) = (each for each in runs if roles[each.info.run_id] == "study")
    for note in (experiment.tags[NOTE], study.data.tags[NOTE]):
        assert note.startswith("**Dev prefers ")
        assert f"runs/{study.info.run_id}/artifacts/report/report.html?" in note
    models = [each for each in runs if roles[each.info.run_id] in ("student", "teacher")]
    assert len(models) == 3
    for model in models:
        assert {each.dataset.name for each in model.inputs.dataset_inputs} == {
            *("train", "dev", "test-generated")
        }
        assert "kdray.study" in model.data.tags["mlflow.source.name"]
        assert model.data.metrics["best_dev_loss"] > 0
        assert [each.path for each in client.list_artifacts(model.info.run_id)] == ["samples"]
    (winner,) = (each for each in runs if each.outputs and each.outputs.model_outputs)
    assert roles[winner.info.run_id] == "student"
    assert winner.info.status == "FINISHED"
    assert winner.data.tags["kdray.method_name"] in experiment.tags[NOTE].split(";")[0]


def test_second_run_makes_nothing(config, undisturbed):
    def made():
        return {p: p.stat().st_mtime_ns for p in undisturbed.glob("*/*/record.json")}

    before = made()
    done = run("study", config, undisturbed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert made() == before
    assert "Ray" not in done.stdout  # not even started


@pytest.mark.long
def test_search_ranks_its_trials_on_dev(config, undisturbed, tmp_path):
    storage = copied(undisturbed, tmp_path / "storage")
    done = run("tune", config, storage)
    assert done.returncode == 0, done.stdout + done.stderr
    reports = storage / "reports" / "micro"
    found = json.loads((reports / "search.json").read_text())
    losses = [trial["score"] for trial in found["trials"]]
    assert losses == sorted(losses)
    page = (reports / "search.html").read_text()
    assert all(trial["fingerprint"] in page for trial in found["trials"])
    retrained = json.loads((reports / "winner" / "results.json").read_text())["results"]
    seeds = {row["seed"] for row in retrained if row["method"] == "found"}
    assert seeds == {2, 3, 4}, "no trial had one of these"
    assert {row["split"] for row in retrained} == {"dev", "test-generated"}
    names = execute(SEARCH, STORAGE=str(storage), STUDY="micro")
    assert len(names["learning"].chart.panels[0].lines) == len(names["trials"]) == 2
    assert names["gate"] is not None


def test_the_notebook_reads_the_study(undisturbed):
    names = execute(COMPARE, STORAGE=str(undisturbed), STUDY="micro")
    assert {run.cell.method for run in names["pair"]} == {"cross_entropy", "hybrid"}
    assert list(names["readings"]["method"]) == ["hybrid"]
    assert names["trade"].chart.panels[0].front


def test_more_workers_than_the_cluster_has_is_refused(config, tmp_path):
    untracked = "execution.tracking.enabled=false"
    done = run("study", config, tmp_path, "execution.train_workers=99", untracked)
    assert done.returncode == 2
    assert "train_workers 99" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "model").exists()
