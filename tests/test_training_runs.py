"""What kdray asks of Ray Train."""

from pathlib import Path

import ray.train

from kdray.cluster.lane import Lane, make_trainer
from kdray.cluster.session import Width
from kdray.config.execution import Execution
from kdray.storage.queue import Queue


def callbacks(execution):
    lane = Lane("lane", (), Queue(Path("queue")), 1, None)
    trainer = make_trainer(lane, Width(1, 1), execution, folder=Path("ray"))
    return {type(callback).__name__ for callback in trainer._create_default_callbacks()}


def test_a_run_starts_no_process_that_it_has_no_use_for(monkeypatch):
    """The names are Ray's own: another version of Ray may have others."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    plain = ray.train.torch.TorchTrainer(lambda: None)._create_default_callbacks()
    every = {type(callback).__name__ for callback in plain}
    on_cluster, alone = callbacks(Execution(address="auto")), callbacks(Execution())
    assert every - on_cluster == {"DatasetsCallback"}
    assert on_cluster - alone == {"PlacementGroupCleanerCallback"}
