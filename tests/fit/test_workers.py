"""Two workers make the updates that one makes, and end together."""

from pathlib import Path

import pytest
import torch
from nano_processes import in_processes, train_among_workers
from nano_training import EARLY, changed, new_objective, training_data

from kdray.fit.history import HISTORY, read_history

pytestmark = pytest.mark.slow

UPDATES = 20
CONFIG = changed(updates=UPDATES, tokens_per_update=24, checkpoint_every=1, validate_every=4)


@pytest.mark.parametrize("method", ["cross_entropy", "prior", "centred", "bilevel"])
def test_two_workers_equal_one(tmp_path: Path, method: str) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    ended = in_processes(
        train_among_workers,
        (method, one, CONFIG, None, 0, 1),
        *((method, two, CONFIG, None, rank, 2) for rank in (0, 1)),
    )
    assert ended == [0, 0, 0]
    alone, shared, other = (
        torch.load(path, weights_only=True)
        for path in (one / "gradients0.pt", two / "gradients0.pt", two / "gradients1.pt")
    )
    assert alone.keys() == shared.keys()
    for name, gradient in alone.items():
        torch.testing.assert_close(shared[name], gradient, rtol=1e-4, atol=1e-6)
        assert torch.equal(shared[name], other[name])
    assert any(gradient.abs().max() > 1e-3 for gradient in alone.values())
    ours, theirs = (read_history(folder / HISTORY) for folder in (one, two))
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]
    for mine, yours in zip(ours, theirs, strict=True):
        for name in mine.keys() - {"time", "train/tokens_per_second"}:
            assert yours[name] == pytest.approx(mine[name], rel=2e-3, abs=1e-4), name


def test_workers_remember_what_all_of_them_saw(tmp_path: Path) -> None:
    """Of an update, the losses of all its tokens, in any order, on each worker.

    The gradient of the first update is that of its scope `batch`: each worker compares its own.
    """
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    config = changed(updates=9, tokens_per_update=64, checkpoint_every=1, validate_every=1)
    ended = in_processes(
        train_among_workers,
        ("selective", one, config, 1, 0, 1),
        *(("selective", two, config, 1, rank, 2) for rank in (0, 1)),
    )
    assert ended == [0, 0, 0]
    alone, shared, other = (
        torch.load(path, weights_only=True)
        for path in (one / "method0.pt", two / "method0.pt", two / "method1.pt")
    )
    assert all(torch.equal(shared[name], other[name]) for name in shared)
    assert int(alone["filled"]) == int(shared["filled"]) > 30
    torch.testing.assert_close(*(each["values"].sort().values for each in (alone, shared)))


def test_some_batches_have_fewer_rows_than_workers() -> None:
    """So that the test above is of them too."""
    data = training_data(new_objective("prior", dropout=0.0).method)
    plan = data.plan(tokens_per_update=CONFIG.tokens_per_update, seed=5)
    batches = [rows for epoch in range(2) for rows in plan.epoch(epoch)]
    assert min(len(rows) for rows in batches[:UPDATES]) == 1


def test_workers_end_early_together_and_know_it_again(tmp_path: Path) -> None:
    """The first worker alone sees dev; the second run finds the end in the checkpoint."""
    ema = {"kind": "ema", "decay": 0.8}
    config = changed(updates=60, early_stopping=EARLY, validate_every=5, averaging=ema)
    calls = [("cross_entropy", tmp_path, config, None, rank, 2) for rank in (0, 1)]
    ended = []
    for _ in range(2):
        assert in_processes(train_among_workers, *calls) == [0, 0]
        ended.append([int((tmp_path / f"ended{rank}").read_text()) for rank in (0, 1)])
        (tmp_path / "meeting").unlink(missing_ok=True)
    (first, other), again = ended
    assert first == other < 60
    assert again == [first, other]
    rows = read_history(tmp_path / HISTORY)
    assert [row["step"] for row in rows if "dev/averaged/loss" in row] == [first]
