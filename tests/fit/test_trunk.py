"""A run that goes on from a trunk equals the run of its length that was trained alone."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from nano_training import (
    METHODS,
    changed,
    new_objective,
    new_run,
    training_data,
)
from pydantic import TypeAdapter
from safetensors.torch import load_file

from kdray.config import SingleMethodConfig
from kdray.config.budgets import branching_update, follows_length, of_length
from kdray.errors import ArtifactDamaged
from kdray.fit.checkpoint import HISTORY, OPTIMIZER, WEIGHTS, read_history
from kdray.fit.loop import fit
from kdray.fit.trunk import CHECKPOINTS, Trunk, store_trunk
from kdray.fit.worker import Worker

CONSTANT = changed(
    updates=30,
    schedule={"kind": "constant_cooldown", "peak": 0.01, "warmup": 5, "cooldown": 0.4},
    average_last=4,
)
SHARING = [name for name in METHODS if name != "imitation"]  # its share of prefixes follows length


def train(folder: Path, method: str, config=CONSTANT, *, trunk: Trunk | None = None, until=None):
    """What a job does in one process. -> the trunk that is left, if it is one."""
    objective = new_objective(method)
    if trunk is not None:
        trunk.begin(folder, objective, config)
    run = new_run(folder, config, until=until)
    progress = fit(objective, training_data(objective.method), run, Worker())
    assert progress.step == until or config.updates
    if until is None:
        return None
    stored = folder.with_name(f"{folder.name}-stored")
    store_trunk(folder, stored)
    return Trunk(stored, until)


def rows(folder: Path) -> list[dict[str, float]]:
    timed = ("time", "train/tokens_per_second")
    return [{k: v for k, v in row.items() if k not in timed}
            for row in read_history(folder / HISTORY)]  # fmt: skip


def assert_same_run(one: Path, other: Path) -> None:
    """Every checkpoint that is left, moments included, and the whole history."""
    left = sorted(path.name for path in (one / CHECKPOINTS).iterdir())
    assert left == sorted(path.name for path in (other / CHECKPOINTS).iterdir())
    for name in left:
        ours, theirs = (load_file(f / CHECKPOINTS / name / WEIGHTS) for f in (one, other))
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            torch.testing.assert_close(value, theirs[key], rtol=0, atol=0, equal_nan=True)
        ours, theirs = (
            torch.load(f / CHECKPOINTS / name / OPTIMIZER, weights_only=True)["state"]
            for f in (one, other)
        )
        assert ours.keys() == theirs.keys()
        for number, state in ours.items():
            assert all(torch.equal(state[key], theirs[number][key]) for key in state)
    assert rows(one) == rows(other)


@pytest.mark.parametrize("method", SHARING)
def test_a_branch_equals_the_run_that_was_trained_alone(tmp_path: Path, method: str) -> None:
    until = branching_update(CONSTANT)
    assert until == 15, "the cooldown starts at 18, and there is a checkpoint at 15"
    train(tmp_path / "alone", method)
    trunk = train(tmp_path / "trunk", method, until=until)
    train(tmp_path / "branch", method, trunk=trunk)
    assert_same_run(tmp_path / "branch", tmp_path / "alone")
    assert len(list((tmp_path / "alone" / CHECKPOINTS).iterdir())) == 4, "15 is among the last"


def test_a_trunk_is_lengthened_and_branches_at_several_places(tmp_path: Path) -> None:
    trunk = None
    for updates in (20, 30, 60):
        config = of_length(CONSTANT, updates)
        until = branching_update(config)
        trunk = train(tmp_path / f"trunk-{until}", "selective", config, trunk=trunk, until=until)
        train(tmp_path / f"branch-{updates}", "selective", config, trunk=trunk)
        train(tmp_path / f"alone-{updates}", "selective", config)
        assert_same_run(tmp_path / f"branch-{updates}", tmp_path / f"alone-{updates}")


def test_a_method_whose_updates_follow_the_length_would_not(tmp_path: Path) -> None:
    assert follows_length(TypeAdapter(SingleMethodConfig).validate_python(METHODS["imitation"]))
    trunk = train(tmp_path / "trunk", "imitation", of_length(CONSTANT, 60), until=15)
    train(tmp_path / "branch", "imitation", trunk=trunk)
    train(tmp_path / "alone", "imitation")
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "branch", tmp_path / "alone")


def test_a_branch_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    train(tmp_path / "alone", "centred")
    trunk = train(tmp_path / "trunk", "centred", until=15)
    objective = new_objective("centred")
    trunk.begin(tmp_path / "branch", objective, CONSTANT)
    stopped = new_run(tmp_path / "branch", CONSTANT, stop=lambda step, _: step == 20)
    assert fit(objective, training_data(objective.method), stopped, Worker()).step == 20
    shutil.rmtree(trunk.folder / CHECKPOINTS)  # it is not read again
    train(tmp_path / "branch", "centred", trunk=trunk)
    assert_same_run(tmp_path / "branch", tmp_path / "alone")


def test_what_a_kill_left_of_a_copy_is_copied_again(tmp_path: Path) -> None:
    train(tmp_path / "alone", "cross_entropy")
    trunk = train(tmp_path / "trunk", "cross_entropy", until=15)
    first, *_, last = sorted((trunk.folder / CHECKPOINTS).iterdir())
    branch = tmp_path / "branch" / CHECKPOINTS
    shutil.copytree(first, branch / first.name)
    shutil.copytree(last, branch / f".{last.name}")
    (branch / last.name).mkdir()
    train(tmp_path / "branch", "cross_entropy", trunk=trunk)
    assert_same_run(tmp_path / "branch", tmp_path / "alone")


def test_another_method_takes_the_student_and_its_moments(tmp_path: Path) -> None:
    trunk = replace(train(tmp_path / "trunk", "centred", until=15), same_method=False)
    for method in ("cross_entropy", "prior", "bilevel", "selective"):
        folder = tmp_path / method
        objective = new_objective(method)
        fresh = {k: v.clone() for k, v in objective.method.named_parameters()}
        trunk.student(objective.student)
        trunk.begin(folder, objective, CONSTANT)
        stored = load_file(trunk.folder / CHECKPOINTS / "00000015" / WEIGHTS)
        begun = load_file(folder / CHECKPOINTS / "00000015" / WEIGHTS)
        students = [name for name in begun if name.startswith("student.")]
        assert len(students) > 10
        assert all(torch.equal(begun[name], stored[name]) for name in students)
        assert all(torch.equal(begun[f"method.{k}"], v) for k, v in fresh.items())
        moments = [torch.load(f / CHECKPOINTS / "00000015" / OPTIMIZER, weights_only=True)["state"]
                   for f in (trunk.folder, folder)]  # fmt: skip
        assert len(moments[1]) == len(list(objective.student.parameters()))
        assert all(torch.equal(moments[1][n]["exp_avg_sq"], moments[0][n]["exp_avg_sq"])
                   for n in moments[1])  # fmt: skip
        train(folder, method, trunk=trunk)
        assert [row["step"] for row in rows(folder) if "train/loss" in row] == [5, 10, 15, 20, 25,
                                                                               30]  # fmt: skip


def test_a_damaged_trunk_is_named(tmp_path: Path) -> None:
    trunk = train(tmp_path / "trunk", "cross_entropy", until=15)
    (trunk.folder / CHECKPOINTS / "00000015" / OPTIMIZER).unlink()
    with pytest.raises(ArtifactDamaged, match=r"00000015: damaged checkpoint of a trunk"):
        trunk.begin(tmp_path / "branch", new_objective("cross_entropy"), CONSTANT)


def test_a_trunk_ends_at_the_constant_rate(tmp_path: Path) -> None:
    train(tmp_path / "trunk", "cross_entropy", until=15)
    rates = [row["train/learning_rate"] for row in rows(tmp_path / "trunk") if "train/loss" in row]
    assert rates[-1] == 0.01
    assert "dev/sum" not in rows(tmp_path / "trunk")[-1]
