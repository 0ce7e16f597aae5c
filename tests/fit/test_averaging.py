"""Means over a run against their formulas, and the model that a run leaves."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nano_training import EARLY, changed, judge, new_objective, new_run, training_data
from safetensors.torch import load_file

from kdray.config.training import EarlyStoppingConfig, EmaConfig, SwaConfig, TrainingConfig
from kdray.errors import ArtifactDamaged, DataError
from kdray.fit.averaging import RunningMean, averaged, ema_weight, running_mean, swa_weight
from kdray.fit.checkpoint import MEANS, WEIGHTS, Progress, newest_progress
from kdray.fit.early_stopping import Selection
from kdray.fit.history import HISTORY, read_history
from kdray.fit.loop import fit, run_checkpoints
from kdray.fit.record import Run
from kdray.fit.worker import Worker

pytestmark = pytest.mark.slow

EVERY_ONE = {"checkpoint_every": 1, "validate_every": 10, "updates": 10}


def train(run: Run) -> Progress:
    objective = new_objective("cross_entropy")
    return fit(objective, training_data(objective.method), run, Worker())


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    """The weights after each of 10 updates; which averaging a run has does not change them."""
    averaging = {"kind": "last", "checkpoints": 10}
    run = new_run(tmp_path_factory.mktemp("run"), changed(**EVERY_ONE, averaging=averaging))
    train(run)
    return [load_file(path / WEIGHTS) for path in run_checkpoints(run).paths()]


def left(folder: Path, config: TrainingConfig) -> dict[str, torch.Tensor]:
    run = new_run(folder, config)
    progress = train(run)
    found = averaged(config, run_checkpoints(run), progress)
    assert found is not None
    return found


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.999])
def test_ema_is_its_formula(tmp_path, snapshots, decay: float) -> None:
    """Σ d^(t−i)·θ_i / Σ d^(t−i): nothing of the initial weights is in it."""
    found = left(tmp_path, changed(**EVERY_ONE, averaging={"kind": "ema", "decay": decay}))
    parts = [decay ** (10 - i) for i in range(1, 11)]
    for name, value in found.items():
        by_hand = sum(p * each[name].double() for p, each in zip(parts, snapshots, strict=True))
        torch.testing.assert_close(value.double(), by_hand / sum(parts), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("window", "every", "taken"),
    [(1.0, 1, range(1, 11)), (0.5, 1, range(6, 11)), (0.5, 2, (6, 8, 10)), (0.2, 1, (9, 10))],
)
def test_swa_is_the_mean_of_its_snapshots(tmp_path, snapshots, window, every, taken) -> None:
    averaging = {"kind": "swa", "window": window, "every": every}
    found = left(tmp_path, changed(**EVERY_ONE, averaging=averaging))
    for name, value in found.items():
        by_hand = torch.stack([snapshots[step - 1][name].double() for step in taken]).mean(0)
        torch.testing.assert_close(value.double(), by_hand, rtol=1e-4, atol=1e-6)


@given(st.integers(1, 5000), st.floats(0.01, 1), st.integers(1, 50))
def test_snapshots_lie_in_the_window_and_end_with_the_run(updates, window, every) -> None:
    steps = SwaConfig(kind="swa", window=window, every=every).snapshots(updates)
    size = round(window * updates)
    assert len(steps) == -(-size // every)
    assert all(updates - size < step <= updates for step in steps)
    if steps:
        assert steps[-1] == updates
        assert [1 / swa_weight(step, steps) for step in steps][-1] == pytest.approx(len(steps))


@given(st.floats(0.01, 0.9999), st.integers(1, 300))
def test_the_first_update_is_all_of_an_ema_and_weights_fall(decay, step) -> None:
    assert ema_weight(1, decay=decay) == 1
    assert (
        1 - decay <= ema_weight(step + 1, decay=decay) < ema_weight(step, decay=decay) * 1.0000001
    )


def test_only_a_run_with_moving_means_has_them(tmp_path) -> None:
    for name, averaging in {
        "none": {"kind": "none"},
        "last": {"kind": "last", "checkpoints": 2},
        "swa": {"kind": "swa", "window": 0.1},
    }.items():
        run = new_run(tmp_path / name, changed(averaging=averaging))
        train(run)
        newest, *_ = sorted(run_checkpoints(run).paths(), reverse=True)
        before, *_ = sorted(run_checkpoints(run).paths())
        assert (newest / MEANS).exists() == (name == "swa")
        assert not (before / MEANS).exists(), "the window has not begun"


@pytest.mark.parametrize("averaging", [{"kind": "none"}, {"kind": "last", "checkpoints": 1}])
def test_without_a_mean_nothing_is_scored_beside_the_plain_weights(tmp_path, averaging) -> None:
    run = new_run(tmp_path, changed(averaging=averaging), validate=judge)
    train(run)
    names = {name for row in read_history(tmp_path / HISTORY) for name in row}
    assert "dev/loss" in names
    assert not any(name.startswith("dev/averaged/") for name in names)


@pytest.mark.parametrize("kind", ["ema", "swa", "last"])
def test_averaged_weights_are_scored_and_the_student_stays(tmp_path, kind) -> None:
    run = new_run(
        tmp_path, changed(averaging={"kind": kind} | {"last": {"checkpoints": 3}}.get(kind, {}))
    )
    objective = new_objective("cross_entropy")
    progress = fit(objective, training_data(objective.method), run, Worker())
    *_, plain, scored = read_history(tmp_path / HISTORY)
    weights = averaged(run.config, run_checkpoints(run), progress)
    matrix = weights["student.tgt_embedding.weight"].double().sum()
    assert scored["dev/averaged/sum"] == pytest.approx(float(matrix), rel=1e-6)
    own = float(objective.student.output_weight.detach().double().sum())
    assert own == plain["dev/sum"] != scored["dev/averaged/sum"]


def test_a_mean_of_another_averaging_is_refused(tmp_path) -> None:
    run = new_run(tmp_path, changed(averaging={"kind": "ema"}, updates=10))
    train(run)
    other = replace(run, config=changed(averaging={"kind": "swa", "window": 0.1}))
    with pytest.raises(DataError, match=r"its mean is of 3. tensors, this run's of 0.*run again"):
        train(other)


def test_means_are_of_parameters_that_move_nothing_else() -> None:
    module = torch.nn.Linear(2, 2)
    mean = RunningMean(module, lambda step: 0.5)
    for step in (1, 2):
        mean.take(step)
    assert torch.equal(mean.means["weight"], module.weight)
    assert mean.means["weight"].data_ptr() != module.weight.data_ptr()
    assert not mean.means["weight"].requires_grad
    assert running_mean(changed(averaging={"kind": "ema"}), module).weight(1) == 1
    assert EmaConfig(kind="ema").decay == 0.999


class TestEarlyStopping:
    CONFIG = changed(early_stopping=EARLY, validate_every=5, averaging=None)

    def test_it_ends_when_patience_does_and_keeps_the_best(self, tmp_path) -> None:
        run = new_run(tmp_path, self.CONFIG)
        progress = train(run)
        rows = [row for row in read_history(tmp_path / HISTORY) if "dev/loss" in row]
        losses = {int(row["step"]): row["dev/loss"] for row in rows}
        best = min(losses, key=losses.get)
        assert list(losses) == [5, 10, 15, 20]
        assert (progress.step, best) == (20, 10)
        assert progress.selection == Selection(
            step=best, value=losses[best], mark=losses[best], waited=2, stopped=True
        )
        assert newest_progress(tmp_path / "checkpoints") == progress
        assert [int(path.name) for path in run_checkpoints(run).paths()] == [10, 15, 20]
        again = train(replace(run, validate=lambda _: pytest.fail("validated again")))
        assert again == progress

    def test_a_metric_that_grows_does_not_end_it(self, tmp_path) -> None:
        early = {"metric": "chrf", "patience": 2}
        config = changed(early_stopping=early, validate_every=5, averaging=None)
        progress = train(new_run(tmp_path, config))
        assert progress.step == 30
        assert progress.selection.metric == "dev/chrf"
        assert not progress.selection.stopped

    def test_a_gain_below_min_delta_wears_patience_but_is_the_best(self) -> None:
        early = EarlyStoppingConfig.model_validate({**EARLY, "min_delta": 0.125})
        selection = Selection.start(early)
        for step, loss in enumerate((1.0, 0.95, 0.91), start=1):
            selection = selection.after(step, {"dev/loss": loss}, early)
        assert selection == Selection(step=3, value=0.91, mark=1.0, waited=2, stopped=True)
        waiting = replace(selection, waited=1, stopped=False)
        again = waiting.after(4, {"dev/loss": 0.875}, early)
        assert again == Selection(step=4, value=0.875, mark=0.875)

    def test_what_is_no_number_is_never_the_best(self) -> None:
        early = self.CONFIG.early_stopping
        selection = Selection.start(early).after(1, {"dev/loss": float("nan")}, early)
        assert (selection.value, selection.waited) == (None, 1)
        selection = selection.after(2, {"dev/loss": 3.0}, early)
        assert (selection.value, selection.waited) == (3.0, 0)

    def test_a_torn_best_is_no_model(self, tmp_path) -> None:
        config = changed(early_stopping=EARLY, validate_every=5, averaging={"kind": "ema"})
        run = new_run(tmp_path, config)
        progress = train(run)
        best = run_checkpoints(run).path(10)
        assert (
            averaged(config, run_checkpoints(run), progress).keys()
            == load_file(best / WEIGHTS).keys()
        )
        (best / MEANS).write_bytes(b"")
        with pytest.raises(ArtifactDamaged, match=f"{best}: missing or damaged"):
            averaged(config, run_checkpoints(run), progress)

    def test_without_it_the_best_by_loss_is_kept(self, tmp_path) -> None:
        run = new_run(tmp_path, changed(validate_every=5), validate=judge)
        train(run)
        assert [int(path.name) for path in run_checkpoints(run).paths()] == [10, 25, 30]
        state = json.loads((run_checkpoints(run).path(30) / "state.json").read_text())
        assert state["progress"]["selection"]["step"] == 10
