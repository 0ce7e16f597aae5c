"""What kdray asks of Ray Train, and what it makes of its failures."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import ray.train

from kdray.cluster import train
from kdray.cluster.session import Width
from kdray.config import Execution
from kdray.errors import TrainingDiverged

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


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("Training failed:\nkdray.errors.TrainingDiverged: update 2: nan\n", "update 2: nan"),
        ("Training failed:\n  ValueError: no\n\n", "ValueError: no"),
        ("", "TrainingDiverged"),
    ],
)
def test_the_cause_of_a_failure_is_its_last_line(said, cause):
    assert train._cause(TrainingDiverged(said)) == cause
