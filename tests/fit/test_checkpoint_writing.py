"""Checkpoints are written beside the updates, bounded in number, and only a run's own are read."""

import time

import pytest
import torch
from checkpoint_examples import (
    Small,
    assert_equal,
    new_pair,
    restore,
    slow_writes,
    update,
    values,
)
from disk_events import largest_file
from nano_training import new_objective, new_run
from safetensors.torch import load_file
from torch import nn

from kdray.errors import DataError, StageFailed
from kdray.fit.checkpoint import OPTIMIZER, WEIGHTS, Checkpoints, Progress
from kdray.fit.early_stopping import Selection
from kdray.fit.loop import run_checkpoints
from kdray.fit.record import Recorder
from kdray.fit.update import new_optimizer


@pytest.mark.slow
def test_a_copy_is_written_whatever_the_weights_do_meanwhile(tmp_path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    module, optimizer = new_pair(1)
    update(module, optimizer, 1)
    held, moments = values(module), optimizer.state_dict()["state"][0]["exp_avg"].clone()
    with slow_writes(0.3):
        checkpoints.save(module, optimizer, Progress(1), {"m": module.layer.weight})
        assert checkpoints.written() is None, "it is still being written"
        update(module, optimizer, 2)
    assert checkpoints.wait() == 1
    assert checkpoints.wait() is None, "told once"
    assert_equal(load_file(tmp_path / "00000001" / WEIGHTS), held)
    stored = torch.load(tmp_path / "00000001" / OPTIMIZER, weights_only=True)
    assert torch.equal(stored["state"][0]["exp_avg"], moments)
    means = checkpoints.means(tmp_path / "00000001")
    assert torch.equal(means["m"], held["layer.weight"])


@pytest.mark.slow
def test_one_is_written_at_a_time(tmp_path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=3)
    module, optimizer = new_pair(1)
    with slow_writes(0.2):
        checkpoints.save(module, optimizer, Progress(1))
        checkpoints.save(module, optimizer, Progress(2))
        assert [path.name for path in checkpoints.paths()] == ["00000001"]
    checkpoints.wait()


@pytest.mark.parametrize("told_by", ["save", "wait", "written"])
def test_a_full_disk_is_one_error_and_nothing_is_lost(saved, told_by) -> None:
    """A limit on the size of files: writing fails as it does on a full disk."""
    checkpoints, held = saved
    module, optimizer = new_pair(2)
    restore(checkpoints, module, optimizer)
    with largest_file(100):
        checkpoints.save(module, optimizer, Progress(4))
        while not checkpoints._writing.done():
            time.sleep(0.01)
    ask = {
        "save": lambda: checkpoints.save(module, optimizer, Progress(5)),
        "wait": checkpoints.wait,
        "written": checkpoints.written,
    }
    with pytest.raises(StageFailed) as caught:
        ask[told_by]()
    message = str(caught.value)
    assert message.startswith(f"{checkpoints.folder / '00000004'}: the checkpoint of update 4")
    assert "File too large" in message
    assert "MiB are free" in message
    assert "that of update 3 is untouched; make room" in message
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == [
        f"0000000{step}" for step in (1, 2, 3)
    ]
    assert restore(checkpoints, module, optimizer).step == 3
    assert_equal(values(module), held[3])
    checkpoints.save(module, optimizer, Progress(4))
    assert checkpoints.wait() == 4, "once there is room"


def test_the_error_that_ends_a_run_stays_it_and_a_checkpoint_that_failed_is_told(
    tmp_path, caplog
) -> None:
    run, objective = new_run(tmp_path), new_objective("cross_entropy")
    optimizer, checkpoints = new_optimizer(objective, run.config), run_checkpoints(run)

    def stop_after_a_checkpoint_that_fails() -> None:
        recorder = Recorder(run, objective, optimizer, checkpoints, Progress())
        with recorder, largest_file(100):
            recorder.checkpoint(Progress(5))
            while not checkpoints._writing.done():
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_after_a_checkpoint_that_fails()
    assert "00000005: the checkpoint of update 5" in caplog.text
    assert not checkpoints.paths()


@pytest.mark.slow
def test_what_a_kept_one_calls_the_best_is_kept(tmp_path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    module, optimizer = new_pair(1)
    best = {1: 1, 2: 2, 3: 2, 4: 2, 5: 2, 6: 6, 7: 6, 8: 6}
    kept = {}
    for step, selected in best.items():
        checkpoints.save(module, optimizer, Progress(step, selection=Selection(step=selected)))
        checkpoints.wait()
        kept[step] = [int(path.name) for path in checkpoints.paths()]
    assert kept[5] == [2, 4, 5]
    assert kept[6] == [2, 5, 6], "a torn 6 would make 5 the newest, whose best is 2"
    assert kept[8] == [6, 7, 8]


def test_another_runs_checkpoint_is_refused(tmp_path) -> None:
    module, optimizer = new_pair(1)
    ours = {"model": {"width": 16, "tokenizer": "aa"}}
    checkpoints = Checkpoints(tmp_path, keep=1, identity=ours)
    checkpoints.save(module, optimizer, Progress(1))
    checkpoints.wait()
    assert restore(Checkpoints(tmp_path, keep=1, identity=ours), module, optimizer).step == 1
    theirs = {"model": {"width": 32, "tokenizer": "bb"}}
    with pytest.raises(DataError) as caught:
        restore(Checkpoints(tmp_path, keep=1, identity=theirs), module, optimizer)
    assert str(caught.value).startswith(
        f'{tmp_path / "00000001"}: of another run, model.tokenizer: "aa" -> "bb"; '
        f"model.width: 16 -> 32; remove {tmp_path}"
    )


def test_another_models_weights_are_refused(saved) -> None:
    checkpoints, _ = saved
    other = Small()
    other.layer = nn.Linear(5, 2)
    with pytest.raises(DataError) as caught:
        restore(checkpoints, other, torch.optim.AdamW(other.parameters()))
    assert "layer.weight is (2, 3) there, the model needs (2, 5); remove" in str(caught.value)
