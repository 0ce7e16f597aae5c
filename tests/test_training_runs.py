"""What kdray asks of Ray Train, and what it makes of its failures."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import ray.train

from kdray.artifacts import Store
from kdray.cluster import train
from kdray.cluster.session import Width, session
from kdray.config.execution import Execution
from kdray.config.training import TrainingConfig
from kdray.tracking import Tracker

TRACKED = SimpleNamespace(job=SimpleNamespace(folder=Path("work/model/abc")))


def callbacks(execution):
    trainer = train._trainer(TRACKED, execution, Width(1, 1))
    return {type(callback).__name__ for callback in trainer._create_default_callbacks()}


def test_a_run_starts_no_process_that_it_has_no_use_for(monkeypatch):
    """The names are Ray's own: another version of Ray may have others."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    plain = ray.train.torch.TorchTrainer(lambda: None)._create_default_callbacks()
    every = {type(callback).__name__ for callback in plain}
    on_cluster, alone = callbacks(Execution(address="auto")), callbacks(Execution())
    assert every - on_cluster == {"DatasetsCallback"}
    assert on_cluster - alone == {"PlacementGroupCleanerCallback"}


@pytest.mark.ray
@pytest.mark.slow
def test_a_run_that_diverged_is_not_started_again(toy_job, changed_job, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "reason", lambda error: f"Ray saw a failure: {error}")
    schedule = {"kind": "inverse_sqrt", "peak": 1e30, "warmup": 1}
    training = {"updates": 12, "tokens_per_update": 512, "schedule": schedule}
    job = changed_job(
        toy_job,
        training=TrainingConfig.model_validate(training),
        folder=tmp_path / "work" / "model",
    )
    jobs = {"student": train.TrackedJob(job, Store(tmp_path), "", Tracker())}
    wide = Execution(storage=str(tmp_path), cpus=2, train_workers=2, cpus_per_worker=1)
    with session(wide):
        ((name, failure),) = train.train(jobs.items(), execution=wide, runs=1, watch=lambda: None)
    assert name == "student"
    assert str(failure).startswith("student: update 2 with CrossEntropy: the objective is ")
