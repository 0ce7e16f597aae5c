"""A run that goes on from a trunk equals the run of its length that was trained alone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from disk_events import assert_on_disk_before_it_was_there, disk_events
from nano_training import (
    METHODS,
    changed,
    judge,
    new_objective,
    new_run,
    training_data,
)
from pydantic import TypeAdapter
from safetensors.torch import load_file

from kdray.config.methods.union import SingleMethodConfig
from kdray.config.trunks import branching_update, follows_length, of_length
from kdray.errors import ArtifactDamaged, DataError
from kdray.fit.averaging import averaged
from kdray.fit.checkpoint import MEANS, OPTIMIZER, STATE, WEIGHTS, newest_progress
from kdray.fit.history import HISTORY, read_history
from kdray.fit.loop import fit, run_checkpoints
from kdray.fit.objective import student_of
from kdray.fit.trunk import CHECKPOINTS, Trunk, store_trunk
from kdray.fit.worker import Worker

pytestmark = pytest.mark.slow

CONSTANT = changed(
    updates=30,
    schedule={"kind": "constant_cooldown", "peak": 0.01, "warmup": 5, "cooldown": 0.4},
    averaging={"kind": "last", "checkpoints": 4},
)
SHARING = [name for name in METHODS if name != "imitation"]  # its share of prefixes follows length
DIFFERENT = ("cross_entropy", "bilevel", "on_policy")  # no state, a second optimiser, own draws


def others_long(values, kept):
    """The parameters of a test, all but some left to `make test-all`."""
    return [v if v in kept else pytest.param(v, marks=pytest.mark.long) for v in values]


def train(folder: Path, method: str, config=CONSTANT, *, trunk: Trunk | None = None, until=None,
          **changes):  # fmt: skip
    """What a job does in one process. -> the trunk that is left, if it is one."""
    objective = new_objective(method)
    run = new_run(folder, config, until=until, identity={"method": method}, **changes)
    if trunk is not None:
        if not trunk.same_method:
            trunk.student(objective.student)
        trunk.begin(objective, run)
    progress = fit(objective, training_data(objective.method), run, Worker())
    assert progress.step == (until or config.updates)
    if until is None:
        return None
    stored = folder.with_name(f"{folder.name}-stored")
    store_trunk(folder, stored)
    return Trunk(stored, until)


def rows(folder: Path) -> list[dict[str, float]]:
    timed = ("time", "train/tokens_per_second")
    return [{k: v for k, v in row.items() if k not in timed}
            for row in read_history(folder / HISTORY)]  # fmt: skip


def means(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / MEANS) if (checkpoint / MEANS).exists() else {}


def selection(checkpoint: Path) -> dict[str, object]:
    return json.loads((checkpoint / STATE).read_text())["progress"]["selection"]


def assert_same_run(one: Path, other: Path) -> None:
    """Every checkpoint that is left, moments, means and best included, and the whole history."""
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
        ours, theirs = (means(f / CHECKPOINTS / name) for f in (one, other))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
        ours, theirs = (selection(f / CHECKPOINTS / name) for f in (one, other))
        assert ours == theirs
    assert rows(one) == rows(other)


@pytest.mark.parametrize("method", others_long(SHARING, DIFFERENT))
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
    for updates in (20, 30, 40):
        config = of_length(CONSTANT, updates)
        until = branching_update(config)
        trunk = train(tmp_path / f"trunk-{until}", "selective", config, trunk=trunk, until=until)
        train(tmp_path / f"branch-{updates}", "selective", config, trunk=trunk)
        train(tmp_path / f"alone-{updates}", "selective", config)
        assert_same_run(tmp_path / f"branch-{updates}", tmp_path / f"alone-{updates}")


AVERAGINGS = [
    {"kind": "none"},
    {"kind": "last", "checkpoints": 5},  # more than are written after the branching
    {"kind": "ema", "decay": 0.9},
    {"kind": "swa", "window": 0.4, "every": 3},
    None,
]


@pytest.mark.parametrize("averaging", others_long(AVERAGINGS, AVERAGINGS[:1]))
def test_a_branch_has_the_mean_and_the_best_of_the_run_alone(tmp_path: Path, averaging) -> None:
    config = changed(**{**CONSTANT.model_dump(), "averaging": averaging, "validate_every": 5})
    how = {"validate": judge}
    longer = of_length(config, 40)
    short = train(tmp_path / "trunk-15", "centred", config, until=15, **how)
    trunk = train(tmp_path / "trunk-20", "centred", longer, trunk=short, until=20, **how)
    for length, start in ((config, short), (longer, trunk)):
        branch, alone = (tmp_path / f"{name}-{length.updates}" for name in ("branch", "alone"))
        train(branch, "centred", length, trunk=start, **how)
        train(alone, "centred", length, **how)
        assert_same_run(branch, alone)
        weights, theirs = (
            averaged(length, run_checkpoints(new_run(f, length)), newest_progress(f / CHECKPOINTS))
            for f in (branch, alone)
        )
        assert (weights is None) == (averaging == {"kind": "none"})
        if weights is not None:
            assert all(torch.equal(value, theirs[name]) for name, value in weights.items())
        best = selection(sorted((branch / CHECKPOINTS).iterdir())[-1])["step"]
        assert 0 < best <= 15, "found by the trunk, and kept"
        assert (branch / CHECKPOINTS / f"{best:08d}").exists()


@pytest.mark.parametrize("averaging", others_long(AVERAGINGS, AVERAGINGS[:1]))
def test_another_method_goes_on_with_means_and_checkpoints(tmp_path: Path, averaging) -> None:
    config = changed(**{**CONSTANT.model_dump(), "averaging": averaging})
    trunk = replace(train(tmp_path / "trunk", "centred", config, until=15), same_method=False)
    folder = tmp_path / "branch"
    run = new_run(folder, config, identity={"method": "prior"})
    objective = new_objective("prior")
    trunk.student(objective.student)
    trunk.begin(objective, run)
    stored = sorted((trunk.folder / CHECKPOINTS).iterdir())
    begun = sorted(path for path in (folder / CHECKPOINTS).iterdir() if path.is_dir())
    assert [path.name for path in begun] == [path.name for path in stored]
    for ours, theirs in zip(begun, stored, strict=True):
        assert json.loads((ours / STATE).read_text())["identity"] == {"method": "prior"}
        assert selection(ours) == selection(theirs)
        mine, its = (student_of(load_file(path / WEIGHTS)) for path in (ours, theirs))
        assert all(torch.equal(value, its[name]) for name, value in mine.items())
        mine, its = (student_of(means(path)) for path in (ours, theirs))
        assert mine.keys() == its.keys()
        assert all(torch.equal(value, its[name]) for name, value in mine.items())
        assert bool(mine) == (averaging is not None and averaging["kind"] == "ema")
    train(folder, "prior", config, trunk=trunk)
    left = run_checkpoints(run).paths()
    if averaging is None or averaging["kind"] == "last":
        assert [int(path.name) for path in left] == [10, 15, 20, 25, 30]
    assert averaged(config, run_checkpoints(run), newest_progress(folder / CHECKPOINTS)) or (
        averaging == {"kind": "none"}
    )


def test_checkpoints_of_another_method_are_not_taken_for_the_branchs_own(tmp_path: Path) -> None:
    trunk = train(tmp_path / "trunk", "centred", until=15)
    with pytest.raises(DataError, match="of another run"):
        train(tmp_path / "branch", "prior", trunk=trunk)


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
    identity = {"method": "centred"}
    stopped = new_run(tmp_path / "branch", CONSTANT, identity=identity, until=20)
    trunk.begin(objective, stopped)
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


def test_a_copy_is_on_the_disk_before_it_counts(tmp_path: Path) -> None:
    trunk = train(tmp_path / "trunk", "cross_entropy", until=15)
    run = new_run(tmp_path / "branch", CONSTANT)
    with disk_events() as events:
        trunk.begin(new_objective("cross_entropy"), run)
    copies = run_checkpoints(run).paths()
    assert [path.name for path in copies] == ["00000005", "00000010", "00000015"]
    for path in copies:
        assert_on_disk_before_it_was_there(events, path, STATE)
    history = run.folder / HISTORY
    assert events.index(("sync", history)) < events.index(("move", history))


def test_another_method_takes_the_student_and_its_moments(tmp_path: Path) -> None:
    trunk = replace(train(tmp_path / "trunk", "centred", until=15), same_method=False)
    for method in ("cross_entropy", "prior", "bilevel", "selective"):
        folder = tmp_path / method
        objective = new_objective(method)
        fresh = {k: v.clone() for k, v in objective.method.named_parameters()}
        trunk.student(objective.student)
        trunk.begin(objective, new_run(folder, CONSTANT, identity={"method": method}))
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
    with pytest.raises(ArtifactDamaged, match=r"00000015: missing or damaged checkpoint"):
        trunk.begin(new_objective("cross_entropy"), new_run(tmp_path / "branch", CONSTANT))


def test_a_trunk_ends_at_the_constant_rate(tmp_path: Path) -> None:
    train(tmp_path / "trunk", "cross_entropy", until=15)
    rates = [row["train/learning_rate"] for row in rows(tmp_path / "trunk") if "train/loss" in row]
    assert rates[-1] == 0.01
    assert "dev/sum" not in rows(tmp_path / "trunk")[-1]
