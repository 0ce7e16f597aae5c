"""A run that is killed anywhere and started again equals one that was not, bit for bit."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from nano_processes import in_processes, train_in_child
from nano_training import EARLY, changed
from safetensors.torch import load_file

from kdray.fit.checkpoint import MEANS, OPTIMIZER, STATE, WEIGHTS
from kdray.fit.history import HISTORY, read_history

pytestmark = pytest.mark.slow
T = TypeVar("T")

# Where the process is killed, the how manieth time there, and the checkpoints of which the newest
# is left: what the main thread does, it does while a checkpoint is being written.
KILLS = [
    ("update", 1, {0}),
    ("update", 13, {5, 10}),
    ("weights", 2, {5}),
    ("optimizer", 3, {10}),
    ("state", 2, {5}),
    ("rename", 2, {5}),
    ("begun", 3, {10, 15}),
    ("meanwhile", 1, {0}),
    ("meanwhile", 3, {10}),
    ("history", 2, {0, 5}),
    ("history", 3, {0, 5}),  # the row of the validation
    ("removal", 1, {15}),
    ("told", 4, {0, 5}),
    ("averaged", 1, {30}),
]

EMA = {"kind": "ema", "decay": 0.8}
SWA = {"kind": "swa", "window": 0.5, "every": 4}
CONFIGS = {
    "ema": changed(averaging=EMA),
    "swa": changed(averaging=SWA),
    "early": changed(early_stopping=EARLY, averaging=EMA, validate_every=5),
}
# Of runs with a mean, or that end early; the first snapshot of `swa` is that of update 18.
KILLS_OF = [
    ("ema", "update", 3, {0}),
    ("ema", "means", 10, {5}),
    ("ema", "update", 28, {20, 25}),
    ("ema", "averaged", 1, {30}),
    ("swa", "update", 14, {5, 10}),
    ("swa", "means", 25, {20}),
    ("swa", "update", 24, {15, 20}),
    ("swa", "averaged", 1, {30}),
    ("early", "update", 13, {5, 10}),
    ("early", "update", 18, {10, 15}),
    ("early", "state", 4, {15}),
    ("early", "averaged", 1, {20}),
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
    assert steps(one) == steps(other)
    assert len(steps(one)) >= 2
    for step in steps(one):
        left, right = (folder / "checkpoints" / f"{step:08d}" for folder in (one, other))
        assert (left / MEANS).exists() == (right / MEANS).exists()
        for name in (WEIGHTS, MEANS) if (left / MEANS).exists() else (WEIGHTS,):
            ours, theirs = load_file(left / name), load_file(right / name)
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        our_adam, their_adam = (
            torch.load(path / OPTIMIZER, weights_only=True)["state"] for path in (left, right)
        )
        assert our_adam.keys() == their_adam.keys()
        for number, state in our_adam.items():
            assert all(torch.equal(state[k], their_adam[number][k]) for k in state)
        ours, theirs = (json.loads((path / STATE).read_text()) for path in (left, right))
        assert ours["progress"]["selection"] == theirs["progress"]["selection"]
    assert rows(one) == rows(other)
    assert_told_once(one)


def assert_told_once(folder: Path) -> None:
    """What a tracker was told of is in the history as it was told, clock times too."""
    history = read_history(folder / HISTORY)
    lines = (folder / "told").read_text().splitlines()
    for line in lines:
        told = json.loads(line)
        assert told == history[: len(told)]
    assert json.loads(lines[-1]) == history


@pytest.mark.parametrize(("place", "nth", "left"), KILLS)
def test_killed_and_started_again(undisturbed, tmp_path, place, nth, left) -> None:
    assert in_processes(train_in_child, ("cross_entropy", tmp_path, (place, nth))) == [-9]
    newest = (steps(tmp_path) or [0])[-1]
    assert newest in left
    assert in_processes(train_in_child, ("cross_entropy", tmp_path, None)) == [0]
    assert updates_made(tmp_path) == 30 - newest, "it went on from its checkpoint"
    assert steps(tmp_path) == [25, 30]
    assert len(rows(tmp_path)) == 6 + 3 + 1
    assert_same_run(tmp_path, undisturbed["cross_entropy"])


@pytest.fixture(scope="module")
def undisturbed_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each configuration from its start to its end in one process."""
    folders = {name: tmp_path_factory.mktemp(name) for name in CONFIGS}
    for name, folder in folders.items():
        call = ("cross_entropy", folder, None, CONFIGS[name])
        assert in_processes(train_in_child, call) == [0]
    assert steps(folders["early"]) == [10, 15, 20], "the best, and the last two"
    assert updates_made(folders["early"]) == 20
    return folders


@pytest.mark.long
@pytest.mark.parametrize(("name", "place", "nth", "left"), KILLS_OF)
def test_means_and_patience_survive(undisturbed_of, tmp_path, name, place, nth, left) -> None:
    config = CONFIGS[name]
    assert in_processes(train_in_child, ("cross_entropy", tmp_path, (place, nth), config)) == [-9]
    newest = (steps(tmp_path) or [0])[-1]
    assert newest in left
    assert in_processes(train_in_child, ("cross_entropy", tmp_path, None, config)) == [0]
    assert updates_made(tmp_path) == updates_made(undisturbed_of[name]) - newest
    assert any("dev/averaged/" in key for key in rows(tmp_path)[-1])
    assert_same_run(tmp_path, undisturbed_of[name])


def test_killed_again_and_again(undisturbed, tmp_path) -> None:
    for kill_at in (("update", 8), ("weights", 2), ("update", 7)):
        assert in_processes(train_in_child, ("cross_entropy", tmp_path, kill_at)) == [-9]
    assert steps(tmp_path)[-1] in (5, 10, 15)
    assert in_processes(train_in_child, ("cross_entropy", tmp_path, None)) == [0]
    assert_same_run(tmp_path, undisturbed["cross_entropy"])


@pytest.mark.parametrize(
    ("place", "nth", "left"), [("update", 13, {5, 10}), ("optimizer", 3, {10})]
)
def test_the_running_means_of_a_gate_survive(undisturbed, tmp_path, place, nth, left) -> None:
    assert in_processes(train_in_child, ("centred", tmp_path, (place, nth))) == [-9]
    newest = steps(tmp_path)[-1]
    assert newest in left
    assert in_processes(train_in_child, ("centred", tmp_path, None)) == [0]
    assert updates_made(tmp_path) == 30 - newest
    assert_same_run(tmp_path, undisturbed["centred"])
    weights = load_file(tmp_path / "checkpoints" / "00000030" / WEIGHTS)
    assert weights["method.stabiliser.token_mean"].isfinite()
    assert weights["method.gate.score.weight"].abs().sum() > 0, "the gate has learned"


@pytest.mark.parametrize("method", STATEFUL)
def test_what_a_method_remembers_survives(undisturbed, tmp_path, method) -> None:
    assert in_processes(train_in_child, (method, tmp_path, ("update", 13))) == [-9]
    assert steps(tmp_path)[-1] in (5, 10)
    assert in_processes(train_in_child, (method, tmp_path, None)) == [0]
    assert_same_run(tmp_path, undisturbed[method])
