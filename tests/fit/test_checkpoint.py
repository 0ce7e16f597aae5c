"""Checkpoints are whole or passed over."""

import logging
import os
import shutil
from pathlib import Path

import pytest
import torch
from checkpoint_examples import assert_equal, new_pair, restore, update, values
from disk_events import assert_on_disk_before_it_was_there, disk_events

from kdray.errors import ArtifactDamaged
from kdray.fit.checkpoint import (
    MEANS,
    OPTIMIZER,
    STATE,
    WEIGHTS,
    Checkpoints,
    Progress,
    newest_progress,
)


@pytest.mark.slow
def test_a_restored_run_goes_on_as_if_it_had_not_stopped(saved) -> None:
    checkpoints, held = saved
    module, optimizer = new_pair(2)
    assert restore(checkpoints, module, optimizer) == Progress(3, 30, 1.5)
    assert_equal(values(module), held[3])
    update(module, optimizer, 4)

    through, its_optimizer = new_pair(1)
    for number in (1, 2, 3, 4):
        update(through, its_optimizer, number)
    assert_equal(values(module), values(through))  # Adam's moments and step count came back


def test_without_a_checkpoint_nothing_changes(tmp_path: Path) -> None:
    module, optimizer = new_pair(1)
    before = values(module)
    checkpoints = Checkpoints(tmp_path / "none", keep=1)
    assert restore(checkpoints, module, optimizer) == Progress()
    assert newest_progress(tmp_path / "none") == Progress()
    assert torch.equal(values(module)["layer.weight"], before["layer.weight"])
    assert optimizer.state_dict()["state"] == {}


def test_a_buffer_that_is_nan_comes_back(tmp_path: Path) -> None:
    module, optimizer = new_pair(1)
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(module, optimizer, Progress(1))
    checkpoints.wait()
    other, its_optimizer = new_pair(2)
    other.mean.fill_(3)
    restore(checkpoints, other, its_optimizer)
    assert other.mean.isnan()


@pytest.mark.parametrize("keep", [1, 2, 4])
def test_only_the_last_are_kept(tmp_path: Path, keep: int) -> None:
    checkpoints = Checkpoints(tmp_path, keep=keep)
    module, optimizer = new_pair(1)
    for number in range(8, 13):  # past a power of ten
        checkpoints.save(module, optimizer, Progress(number))
    assert checkpoints.wait() == 12
    assert [int(path.name) for path in checkpoints.paths()] == list(range(13 - keep, 13))
    assert len(list(tmp_path.iterdir())) == keep


@pytest.mark.parametrize("name", [WEIGHTS, OPTIMIZER, STATE])
@pytest.mark.parametrize("how", ["cut", "emptied", "removed", "flipped"])
def test_a_torn_checkpoint_is_passed_over_with_a_warning(saved, caplog, name, how) -> None:
    checkpoints, held = saved
    newest = checkpoints.paths()[-1]
    content = bytearray((newest / name).read_bytes())
    if how == "removed":
        (newest / name).unlink()
    elif how == "flipped" and name != STATE:
        content[len(content) // 2] ^= 1
        (newest / name).write_bytes(content)
    else:
        os.truncate(newest / name, 0 if how == "emptied" else len(content) // 2)
    module, optimizer = new_pair(2)
    with caplog.at_level(logging.WARNING):
        assert restore(checkpoints, module, optimizer).step == 2
    assert_equal(values(module), held[2])
    (record,) = caplog.records
    assert record.getMessage() == f"{newest}: damaged checkpoint, using the one before it"
    assert newest_progress(checkpoints.folder) == Progress(2, 20, 1.0)


def test_when_all_are_torn_the_run_starts_again(saved, caplog) -> None:
    checkpoints, _ = saved
    for path in checkpoints.paths():
        (path / STATE).unlink()
    module, optimizer = new_pair(2)
    before = values(module)["layer.weight"]
    with caplog.at_level(logging.WARNING):
        assert restore(checkpoints, module, optimizer) == Progress()
    assert len(caplog.records) == 3
    assert torch.equal(values(module)["layer.weight"], before)


@pytest.mark.slow
def test_a_torn_checkpoint_is_written_again(saved) -> None:
    checkpoints, _ = saved
    (checkpoints.paths()[-1] / WEIGHTS).unlink()
    module, optimizer = new_pair(2)
    progress = restore(checkpoints, module, optimizer)
    update(module, optimizer, 3)
    checkpoints.save(module, optimizer, Progress(3, progress.target_tokens))
    checkpoints.wait()
    assert newest_progress(checkpoints.folder) == Progress(3, 20)
    assert_equal(checkpoints.average(last=1), values(module))


def test_a_checkpoint_is_on_the_disk_before_it_counts(tmp_path: Path) -> None:
    module, optimizer = new_pair(1)
    checkpoints = Checkpoints(tmp_path, keep=1)
    with disk_events() as events:
        checkpoints.save(module, optimizer, Progress(1), {"mean": module.mean})
        checkpoints.wait()
    (path,) = checkpoints.paths()
    assert {file.name for file in path.iterdir()} == {WEIGHTS, MEANS, OPTIMIZER, STATE}
    assert_on_disk_before_it_was_there(events, path, STATE)


def test_what_a_kill_left_aside_is_no_checkpoint(saved) -> None:
    checkpoints, _ = saved
    shutil.copytree(checkpoints.paths()[-1], checkpoints.folder / ".00000004")
    module, optimizer = new_pair(2)
    assert restore(checkpoints, module, optimizer).step == 3
    checkpoints.save(module, optimizer, Progress(4))
    checkpoints.wait()
    assert not (checkpoints.folder / ".00000004").exists()


@pytest.mark.parametrize(("last", "steps"), [(1, [3]), (2, [2, 3]), (3, [1, 2, 3]), (9, [1, 2, 3])])
def test_the_average_is_the_mean_of_the_last(saved, last: int, steps: list[int]) -> None:
    checkpoints, held = saved
    mean = checkpoints.average(last=last)
    assert mean.keys() == held[3].keys()
    for name, value in mean.items():
        by_hand = torch.stack([held[step][name].double() for step in steps]).mean(0)
        assert value.dtype == held[3][name].dtype
        torch.testing.assert_close(value.double(), by_hand, rtol=1e-7, atol=1e-8)
    assert mean["mean"] == sum(steps) / len(steps)


def test_a_torn_checkpoint_is_not_averaged(saved) -> None:
    checkpoints, _ = saved
    damaged = checkpoints.paths()[1]
    content = bytearray((damaged / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (damaged / WEIGHTS).write_bytes(content)
    with pytest.raises(ArtifactDamaged) as caught:
        checkpoints.average(last=3)
    assert str(caught.value).startswith(f"{damaged}: missing or damaged checkpoint")
    assert "run again" in str(caught.value)
    checkpoints.average(last=1)
