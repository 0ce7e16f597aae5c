"""A job on a GPU learns what it learns on a CPU, and goes on where it was stopped."""

from pathlib import Path

import pytest
import torch
from nano_training import changed

from kdray.fit.history import HISTORY, read_history
from kdray.fit.job import TrainingJob
from kdray.fit.worker import Worker

if not torch.cuda.is_available():
    pytest.skip("needs an NVIDIA GPU", allow_module_level=True)
CUDA = torch.device("cuda")
TRAINING = changed(
    updates=24, tokens_per_update=512, checkpoint_every=4, validate_every=12, precision="fp32"
)


class Stopped(Exception):
    """What ends a run early here."""


def losses(job: TrainingJob) -> list[float]:
    """Of the dev set."""
    return [row["dev/loss"] for row in read_history(job.folder / HISTORY) if "dev/loss" in row]


def test_the_losses_are_those_of_a_cpu(toy_job: TrainingJob, changed_job, tmp_path: Path) -> None:
    model = toy_job.spec.model.model_copy(update={"dropout": 0.0})
    found = {}
    for device in (torch.device("cpu"), CUDA):
        folder = tmp_path / device.type
        job = changed_job(toy_job, model=model, training=TRAINING, folder=folder)
        assert job.run(Worker(device=device), threads=1).step == 24
        found[device.type] = losses(job)
    assert found["cpu"][-1] < found["cpu"][0]
    assert found["cuda"] == pytest.approx(found["cpu"], rel=1e-2)


@pytest.mark.parametrize("precision", ["fp32", "bf16_autocast", "bf16_master"])
def test_a_run_that_was_stopped_goes_on(
    toy_job: TrainingJob, changed_job, tmp_path: Path, precision: str
) -> None:
    training = TRAINING.model_copy(update={"precision": precision})

    def stop(step: int) -> None:
        if step == 12:
            raise Stopped

    whole, broken = (
        changed_job(toy_job, training=training, folder=tmp_path / name)
        for name in ("whole", "broken")
    )
    whole.run(Worker(device=CUDA), threads=1)
    with pytest.raises(Stopped):
        broken.run(Worker(device=CUDA), threads=1, on_checkpoint=stop)
    assert broken.run(Worker(device=CUDA), threads=1).step == 24
    # Sums over many threads are in no fixed order there, so the bits may differ.
    assert losses(broken) == pytest.approx(losses(whole), rel=1e-2)
