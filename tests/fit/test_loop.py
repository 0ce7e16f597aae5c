"""One process: what a run leaves, when it ends early, and when it must not go on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nano_training import (
    METHODS,
    TRAINING,
    changed,
    new_objective,
    new_run,
    training_data,
    validate,
)
from safetensors.torch import load_file

from kdray.config.training import ScheduleConfig
from kdray.errors import DataError, TrainingDiverged
from kdray.fit import update
from kdray.fit.checkpoint import WEIGHTS, Progress
from kdray.fit.history import HISTORY, read_history
from kdray.fit.loop import fit
from kdray.fit.record import Run
from kdray.fit.schedule import learning_rate
from kdray.fit.worker import Worker
from kdray.model.transformer import Transformer
from kdray.schema import View

pytestmark = pytest.mark.slow

PARTS = {
    "cross_entropy": {"cross_entropy_reference"},
    "selective": {"cross_entropy_reference", "token", "selected"},
    "on_policy": {"jensen_shannon_reference", "jensen_shannon_student"},
    "imitation": {"token"},
}


def train(run: Run, *, method: str = "cross_entropy", dropout: float = 0.1) -> Progress:
    objective = new_objective(method, dropout=dropout)
    return fit(objective, training_data(objective.method), run, Worker())


def checkpoint_steps(run: Run) -> list[int]:
    return sorted(int(path.name) for path in (run.folder / "checkpoints").glob("[0-9]*"))


def newest_weights(run: Run) -> dict[str, torch.Tensor]:
    newest = max((run.folder / "checkpoints").glob("[0-9]*"))
    return load_file(newest / WEIGHTS)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_learns_and_logs_every_part(tmp_path: Path, method: str) -> None:
    run = new_run(tmp_path)
    progress = train(run, method=method)
    assert progress.step == 30
    assert progress.train_seconds > 0
    assert checkpoint_steps(run) == [25, 30]
    rows = [row for row in read_history(tmp_path / HISTORY) if "train/loss" in row]
    assert [row["step"] for row in rows] == [5, 10, 15, 20, 25, 30]
    assert rows[-1]["train/loss"] < rows[0]["train/loss"]
    for row in rows:
        parts = {name.split("/")[2] for name in row if name.startswith("train/loss/")}
        assert parts == PARTS.get(method, {"token", "sentence"})
        assert row["train/learning_rate"] == learning_rate(
            TRAINING.schedule, step=int(row["step"]), updates=30, width=16
        )
        assert all(np.isfinite(value) for value in row.values())


def test_target_tokens_are_those_of_the_updates(tmp_path: Path) -> None:
    data = training_data(new_objective("prior").method)
    plan = data.plan(tokens_per_update=64, seed=5)
    batches = [rows for epoch in range(5) for rows in plan.epoch(epoch)][:30]
    assert plan.batches_per_epoch() < 10, "the run is of several epochs"
    tokens = sum(ids.lengths[rows].sum() for ids in data.views.values() for rows in batches)
    assert train(new_run(tmp_path), method="prior").target_tokens == tokens


def test_it_validates_on_time_and_at_the_end(tmp_path: Path) -> None:
    run = new_run(tmp_path, changed(updates=23))
    train(run)
    rows = [row for row in read_history(tmp_path / HISTORY) if "dev/sum" in row]
    assert [row["step"] for row in rows] == [10, 20, 23]
    assert checkpoint_steps(run) == [20, 23]


def test_a_finished_run_makes_no_update(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    first = train(run)
    weights, history = newest_weights(run), (tmp_path / HISTORY).read_bytes()
    again = train(replace(run, validate=lambda _: pytest.fail("validated again")))
    assert again == first
    assert (tmp_path / HISTORY).read_bytes() == history
    assert all(torch.equal(value, weights[name]) for name, value in newest_weights(run).items())


@pytest.mark.parametrize("part", ["seed", "updates made"])
def test_the_seed_decides_and_nothing_else_does(tmp_path: Path, part: str) -> None:
    run = new_run(tmp_path / "one", changed(updates=6))
    train(run)
    torch.manual_seed(999)  # what came before in this process
    other = replace(run, folder=tmp_path / "two", seed=6 if part == "seed" else run.seed)
    train(other)
    one, two = newest_weights(run), newest_weights(other)
    assert all(torch.equal(one[name], two[name]) for name in one) == (part != "seed")


def test_dropout_is_on_in_training(tmp_path: Path) -> None:
    config = changed(updates=6)
    runs = [new_run(tmp_path / name, config) for name in ("with", "without")]
    for run, dropout in zip(runs, (0.5, 0.0), strict=True):
        train(run, dropout=dropout)
    one, two = (newest_weights(run)["student.tgt_embedding.weight"] for run in runs)
    assert not torch.equal(one, two)


def test_a_run_is_validated_when_it_is_due_and_ends_where_it_is_told_to(tmp_path: Path) -> None:
    run = new_run(tmp_path, until=25)
    assert train(run).step == 25
    rows = read_history(tmp_path / HISTORY)
    assert [row["step"] for row in rows if "dev/sum" in row] == [10, 20]
    assert checkpoint_steps(run) == [20, 25]
    assert rows[-1]["step"] == 25


def test_checkpoints_are_announced_when_they_are_there(tmp_path: Path) -> None:
    seen: list[tuple[int, list[int]]] = []
    run = new_run(tmp_path, changed(updates=12))
    run = replace(run, on_checkpoint=lambda step: seen.append((step, checkpoint_steps(run))))
    train(run)
    assert seen == [(5, [5]), (10, [5, 10]), (12, [10, 12])]


def test_an_absurd_learning_rate_stops_the_run(tmp_path: Path) -> None:
    schedule = {"kind": "inverse_sqrt", "peak": 1e30, "warmup": 1}
    run = new_run(tmp_path, changed(schedule=schedule, checkpoint_every=1))
    with pytest.raises(TrainingDiverged) as caught:
        train(run)
    message = str(caught.value)
    assert message.startswith("update 2 with CrossEntropy: the objective is ")
    assert "gradient norm" in message
    assert "loss/cross_entropy_reference" in message
    assert "lower the learning rate's peak" in message
    assert caught.value.exit_code == 1
    assert checkpoint_steps(run) == [1]


@pytest.mark.parametrize(("method", "part"), [("cross_entropy", "loss/cross_entropy_reference"),
                                              ("centred", "loss/token")])  # fmt: skip
@pytest.mark.parametrize("poison", [torch.inf, torch.nan])
def test_a_weight_that_is_not_finite_stops_the_run(
    tmp_path, monkeypatch, method, part, poison
) -> None:
    objective = new_objective(method)
    data = training_data(objective.method)

    def spoil(schedule: ScheduleConfig, *, step: int, updates: int, width: int) -> float:
        if step == 11:  # while the checkpoint of update 10 is being written
            objective.student.encoder_norm.weight.data[0] = poison
        return learning_rate(schedule, step=step, updates=updates, width=width)

    monkeypatch.setattr(update, "learning_rate", spoil)
    run = new_run(tmp_path)
    with pytest.raises(TrainingDiverged) as caught:
        fit(objective, data, run, Worker())
    kind = type(objective.method).__name__
    assert str(caught.value).startswith(f"update 11 with {kind}: the objective is nan")
    assert f"'{part}': nan" in str(caught.value)
    assert checkpoint_steps(run) == [5, 10]
    assert all(
        value.isfinite().all() for name, value in newest_weights(run).items() if "mean" not in name
    )
    monkeypatch.undo()
    made = train(run, method=method)
    assert made.step == 30, "the kept checkpoint is good to go on from"


def test_nothing_to_train_on_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    objective = new_objective("cross_entropy")
    data = training_data(objective.method)
    none = np.array([], dtype=np.int64)
    empty = replace(
        data,
        pair_ids=none,
        src=data.src.take(none),
        views={View.REFERENCE: data.views[View.REFERENCE].take(none)},
        left_out={"too long": 60},
    )
    with pytest.raises(DataError, match=r"no pair is left to train on; left out: .*'too long': 60"):
        fit(objective, empty, new_run(tmp_path), Worker())


def test_a_history_is_one_json_object_a_line(tmp_path: Path) -> None:
    train(new_run(tmp_path))
    lines = (tmp_path / HISTORY).read_text().splitlines()
    assert len(lines) == 6 + 3 + 1
    assert all({"step", "time"} < json.loads(line).keys() for line in lines)


def test_validation_sees_the_student(tmp_path: Path) -> None:
    seen: list[object] = []

    def look(model: Transformer) -> dict[str, float]:
        seen.append(type(model))
        return validate(model)

    train(new_run(tmp_path, changed(updates=10), validate=look))
    assert seen == [Transformer, Transformer], "the second time with the mean of its checkpoints"
