"""A run that is killed anywhere and started again equals one that was not, bit for bit."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from nano_training import in_processes, train_in_child
from safetensors.torch import load_file

from kdray.fit.checkpoint import HISTORY, OPTIMIZER, WEIGHTS, read_history

pytestmark = pytest.mark.slow
T = TypeVar("T")

# Where the process is killed, the how manieth time there, and the checkpoint that is left.
KILLS = [
    ("update", 1, 0),
    ("update", 13, 10),
    ("weights", 2, 5),
    ("optimizer", 3, 10),
    ("state", 2, 5),
    ("history", 2, 5),
    ("history", 3, 5),  # the row of the validation
    ("removal", 1, 15),
]


# Methods that remember something: losses, moments of the gate, the student of some updates ago.
STATEFUL = ("selective", "bilevel", "imitation")


def batched(items: Iterable[T], size: int) -> list[list[T]]:
    kept = list(items)
    return [kept[i : i + size] for i in range(0, len(kept), size)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each method from its start to its end in one process."""
    folders = {
        name: tmp_path_factory.mktemp(name) for name in ("cross_entropy", "centred", *STATEFUL)
    }
    for pair in batched(folders.items(), 2):
        calls = [(method, folder, None) for method, folder in pair]
        assert in_processes(train_in_child, *calls) == [0] * len(calls)
    assert all(updates_made(folder) == 30 for folder in folders.values())
    return folders


def updates_made(folder: Path) -> int:
    return int((folder / "updates_made").read_text())


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in (folder / "checkpoints").glob("[0-9]*"))


def rows(folder: Path) -> list[dict[str, float]]:
    """The history without what a clock decides."""
    timed = ("time", "train/tokens_per_second")
    return [
        {name: value for name, value in row.items() if name not in timed}
        for row in read_history(folder / HISTORY)
    ]


def assert_same_run(one: Path, other: Path) -> None:
    assert steps(one) == steps(other) == [25, 30]
    for step in (25, 30):
        left, right = (folder / "checkpoints" / f"{step:08d}" for folder in (one, other))
        ours, theirs = load_file(left / WEIGHTS), load_file(right / WEIGHTS)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        our_adam, their_adam = (
            torch.load(path / OPTIMIZER, weights_only=True)["state"] for path in (left, right)
        )
        assert our_adam.keys() == their_adam.keys()
        for number, state in our_adam.items():
            assert all(torch.equal(state[k], their_adam[number][k]) for k in state)
    assert rows(one) == rows(other)
    assert len(rows(one)) == 6 + 3


@pytest.mark.parametrize(("place", "nth", "left"), KILLS)
def test_killed_and_started_again(undisturbed, tmp_path, place: str, nth: int, left: int) -> None:
    assert in_processes(train_in_child, ("cross_entropy", tmp_path, (place, nth))) == [-9]
    assert (steps(tmp_path) or [0])[-1] == left
    assert in_processes(train_in_child, ("cross_entropy", tmp_path, None)) == [0]
    assert updates_made(tmp_path) == 30 - left, "it went on from its checkpoint"
    assert_same_run(tmp_path, undisturbed["cross_entropy"])


def test_killed_again_and_again(undisturbed, tmp_path) -> None:
    for kill_at in (("update", 8), ("weights", 2), ("update", 7)):
        assert in_processes(train_in_child, ("cross_entropy", tmp_path, kill_at)) == [-9]
    assert steps(tmp_path)[-1] == 15
    assert in_processes(train_in_child, ("cross_entropy", tmp_path, None)) == [0]
    assert_same_run(tmp_path, undisturbed["cross_entropy"])


@pytest.mark.parametrize(("place", "nth", "left"), [("update", 13, 10), ("optimizer", 3, 10)])
def test_the_running_means_of_a_gate_survive(undisturbed, tmp_path, place, nth, left) -> None:
    assert in_processes(train_in_child, ("centred", tmp_path, (place, nth))) == [-9]
    assert steps(tmp_path)[-1] == left
    assert in_processes(train_in_child, ("centred", tmp_path, None)) == [0]
    assert updates_made(tmp_path) == 30 - left
    assert_same_run(tmp_path, undisturbed["centred"])
    weights = load_file(tmp_path / "checkpoints" / "00000030" / WEIGHTS)
    assert weights["method.stabiliser.token_mean"].isfinite()
    assert weights["method.gate.score.weight"].abs().sum() > 0, "the gate has learned"


@pytest.mark.parametrize("method", STATEFUL)
def test_what_a_method_remembers_survives(undisturbed, tmp_path, method) -> None:
    assert in_processes(train_in_child, (method, tmp_path, ("update", 13))) == [-9]
    assert steps(tmp_path)[-1] == 10
    assert in_processes(train_in_child, (method, tmp_path, None)) == [0]
    assert_same_run(tmp_path, undisturbed[method])
