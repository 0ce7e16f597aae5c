"""Checkpoints are whole or passed over, and a history has each update once."""

import json
import logging
import os
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from kdray.errors import ArtifactDamaged, DataError, StageFailed
from kdray.fit import checkpoint
from kdray.fit.checkpoint import OPTIMIZER, STATE, WEIGHTS, Checkpoints, Progress, newest_progress
from kdray.fit.history import History, read_history
from kdray.fit.selection import Selection
from kdray.model.storage import tensors


class Small(nn.Module):
    """A layer, and a buffer that starts as NaN, as that of a centred gate does."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("mean", torch.tensor(torch.nan))


def new_pair(seed: int) -> tuple[Small, torch.optim.AdamW]:
    torch.manual_seed(seed)
    module = Small()
    return module, torch.optim.AdamW(module.parameters(), lr=0.1, fused=True)


def update(module: Small, optimizer: torch.optim.Optimizer, number: int) -> None:
    torch.manual_seed(number)
    optimizer.zero_grad()
    module.layer(torch.randn(4, 3)).square().sum().backward()
    optimizer.step()
    module.mean.fill_(number)


def values(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in tensors(module).items()}


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Checkpoints, dict[int, dict[str, Tensor]]]:
    """Checkpoints of updates 1 to 3, and what the module held at each."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=3)
    module, optimizer = new_pair(1)
    held = {}
    for number in (1, 2, 3):
        update(module, optimizer, number)
        checkpoints.save(module, optimizer, Progress(number, 10 * number, 0.5 * number))
        held[number] = values(module)
    checkpoints.wait()
    return checkpoints, held


def test_a_restored_run_goes_on_as_if_it_had_not_stopped(saved) -> None:
    checkpoints, held = saved
    module, optimizer = new_pair(2)
    assert checkpoints.restore(module, optimizer) == Progress(3, 30, 1.5)
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
    assert checkpoints.restore(module, optimizer) == Progress()
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
    checkpoints.restore(other, its_optimizer)
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
        assert checkpoints.restore(module, optimizer).step == 2
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
        assert checkpoints.restore(module, optimizer) == Progress()
    assert len(caplog.records) == 3
    assert torch.equal(values(module)["layer.weight"], before)


def test_a_torn_checkpoint_is_written_again(saved) -> None:
    checkpoints, _ = saved
    (checkpoints.paths()[-1] / WEIGHTS).unlink()
    module, optimizer = new_pair(2)
    progress = checkpoints.restore(module, optimizer)
    update(module, optimizer, 3)
    checkpoints.save(module, optimizer, Progress(3, progress.target_tokens))
    checkpoints.wait()
    assert newest_progress(checkpoints.folder) == Progress(3, 20)
    assert_equal(checkpoints.average(last=1), values(module))


def test_what_a_kill_left_aside_is_no_checkpoint(saved) -> None:
    checkpoints, _ = saved
    shutil.copytree(checkpoints.paths()[-1], checkpoints.folder / ".00000004")
    module, optimizer = new_pair(2)
    assert checkpoints.restore(module, optimizer).step == 3
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


class TestHistory:
    def rows(self, path: Path) -> list[tuple[float, float]]:
        return [(row["step"], row["loss"]) for row in read_history(path)]

    def test_it_reads_what_was_appended(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "history.jsonl"
        history = History(path, step=0)
        assert read_history(path) == []
        history.append({"step": 5, "loss": 0.1 + 0.2})
        history.append({"step": 5, "loss": 2})
        assert self.rows(path) == [(5, 0.1 + 0.2), (5, 2)]

    def test_there_is_none_before_a_run(self, tmp_path: Path) -> None:
        assert read_history(tmp_path / "none") == []

    def test_a_resumed_run_drops_what_it_will_make_again(self, tmp_path: Path) -> None:
        path = tmp_path / "history.jsonl"
        history = History(path, step=0)
        for step in (5, 10, 10, 15, 20):
            history.append({"step": step, "loss": step})
        resumed = History(path, step=10)
        assert self.rows(path) == [(5, 5), (10, 10), (10, 10)]
        resumed.append({"step": 15, "loss": 0})
        assert self.rows(path) == [(5, 5), (10, 10), (10, 10), (15, 0)]
        assert list(tmp_path.iterdir()) == [path]

    def test_a_row_that_finds_no_room_is_an_error_and_the_others_stay(self, tmp_path) -> None:
        history = History(tmp_path / "history.jsonl", step=0)
        history.append({"step": 1, "loss": 3})
        with largest_file(30), pytest.raises(StageFailed) as caught:
            history.append({"step": 2, "loss": 4})
        assert "the row of update 2 could not be added (File too large)" in str(caught.value)
        assert self.rows(history.path) == [(1, 3)]

    @pytest.mark.parametrize("cut", range(1, 9))
    def test_a_line_that_was_cut_is_no_row(self, tmp_path: Path, cut: int) -> None:
        path = tmp_path / "history.jsonl"
        line = json.dumps({"step": 1, "loss": 3})
        path.write_text(f"{line}\n{line[: cut * len(line) // 9]}")
        assert self.rows(path) == [(1, 3)]
        History(path, step=9).append({"step": 2, "loss": 4})
        assert self.rows(path) == [(1, 3), (2, 4)]
        assert path.read_text().count("\n") == 2


class TestWriting:
    def test_a_copy_is_written_whatever_the_weights_do_meanwhile(self, tmp_path) -> None:
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

    def test_one_is_written_at_a_time(self, tmp_path) -> None:
        checkpoints = Checkpoints(tmp_path, keep=3)
        module, optimizer = new_pair(1)
        with slow_writes(0.2):
            checkpoints.save(module, optimizer, Progress(1))
            checkpoints.save(module, optimizer, Progress(2))
            assert [path.name for path in checkpoints.paths()] == ["00000001"]
        checkpoints.wait()

    @pytest.mark.parametrize("told_by", ["save", "wait", "written"])
    def test_a_full_disk_is_one_error_and_nothing_is_lost(self, saved, told_by) -> None:
        """A limit on the size of files: writing fails as it does on a full disk."""
        checkpoints, held = saved
        module, optimizer = new_pair(2)
        checkpoints.restore(module, optimizer)
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
        assert checkpoints.restore(module, optimizer).step == 3
        assert_equal(values(module), held[3])
        checkpoints.save(module, optimizer, Progress(4))
        assert checkpoints.wait() == 4, "once there is room"

    def test_what_a_kept_one_calls_the_best_is_kept(self, tmp_path) -> None:
        checkpoints = Checkpoints(tmp_path, keep=2, keep_steps={3})
        module, optimizer = new_pair(1)
        best = {1: 1, 2: 2, 3: 2, 4: 2, 5: 2, 6: 6, 7: 6, 8: 6}
        kept = {}
        for step, selected in best.items():
            checkpoints.save(module, optimizer, Progress(step, selection=Selection(step=selected)))
            checkpoints.wait()
            kept[step] = [int(path.name) for path in checkpoints.paths()]
        assert kept[5] == [2, 3, 4, 5]
        assert kept[6] == [2, 3, 5, 6], "a torn 6 would make 5 the newest, whose best is 2"
        assert kept[8] == [3, 6, 7, 8]

    def test_another_runs_checkpoint_is_refused(self, tmp_path) -> None:
        module, optimizer = new_pair(1)
        ours = {"model": {"width": 16, "tokenizer": "aa"}}
        checkpoints = Checkpoints(tmp_path, keep=1, identity=ours)
        checkpoints.save(module, optimizer, Progress(1))
        checkpoints.wait()
        assert Checkpoints(tmp_path, keep=1, identity=ours).restore(module, optimizer).step == 1
        theirs = {"model": {"width": 32, "tokenizer": "bb"}}
        with pytest.raises(DataError) as caught:
            Checkpoints(tmp_path, keep=1, identity=theirs).restore(module, optimizer)
        assert str(caught.value).startswith(
            f'{tmp_path / "00000001"}: of another run, model.tokenizer: "aa" -> "bb"; '
            f"model.width: 16 -> 32; remove {tmp_path}"
        )

    def test_another_models_weights_are_refused(self, saved) -> None:
        checkpoints, _ = saved
        other = Small()
        other.layer = nn.Linear(5, 2)
        with pytest.raises(DataError) as caught:
            checkpoints.restore(other, torch.optim.AdamW(other.parameters()))
        assert "layer.weight is (2, 3) there, the model needs (2, 5); remove" in str(caught.value)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def slow_writes(seconds: float) -> Iterator[None]:
    plain = checkpoint.save_file

    def slowly(*args: object) -> None:
        time.sleep(seconds)
        plain(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save_file", slowly)
        yield
