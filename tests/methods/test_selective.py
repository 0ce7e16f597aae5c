"""Selective distillation: which tokens, and what the queue remembers."""

import pytest
import torch
from dense_batch import Dense
from hypothesis import given
from hypothesis import strategies as st
from method_examples import parse
from toy_distillation import Trial
from toy_teacher import model

from kdray.methods.selective import NLL, Selective
from kdray.schema import View


def new(scope="global", *, share=0.5, queue=5):
    raw = {"kind": "selective", "scope": scope, "share": share, "queue": queue}
    return Selective(parse(raw), model(1))


def remember(method, *values):
    method.after_update({}, {NLL: torch.tensor(values, dtype=torch.float32)})


@pytest.mark.parametrize("scope", ["batch", "global"])
def test_a_share_of_one_is_cross_entropy_and_kl_on_all(scope):
    trial = Trial.of({"kind": "selective", "scope": scope, "share": 1.0, "signal": "topk"})
    batch, dense = trial.batch(), Dense(trial, trial.batch())
    value = (dense.ce(View.REFERENCE, 0.1) + dense.kl(View.REFERENCE)).mean()
    torch.testing.assert_close(
        trial.everything(batch), {"value": value.detach(), **trial.gradients(value)}
    )


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(0, 1000), max_size=9), max_size=8), st.integers(1, 6))
def test_the_queue_holds_the_last_losses_and_forgets_the_oldest(updates, size):
    method, fed = new(queue=size), []
    for values in updates:
        remember(method, *values)
        fed += values
        held = method.values[: int(method.filled)].tolist()
        assert sorted(held) == sorted(fed[-size:])
    assert method.values.shape == (size,)


def test_the_next_place_is_that_of_the_oldest():
    method = new(queue=3)
    remember(method, 1, 2)
    remember(method, 3, 4)
    assert method.values.tolist() == [4, 2, 3]
    remember(method, 5)
    assert method.values.tolist() == [4, 5, 3]


@pytest.mark.slow
@given(st.integers(1, 50), st.sampled_from([0.1, 0.25, 0.5, 0.9]), st.integers(0, 99))
def test_tokens_above_the_quantile_of_the_queue_are_selected(tokens, share, seed):
    method = new(share=share, queue=41)
    random = torch.Generator().manual_seed(seed)
    values = torch.rand(41, generator=random)
    remember(method, *values.tolist())
    nll = torch.rand(tokens, generator=random)
    place = (1 - share) * 40
    ordered = values.sort().values
    low = int(place)
    threshold = ordered[low] + (place - low) * (ordered[min(low + 1, 40)] - ordered[low])
    sure = (nll - threshold).abs() > 1e-6
    assert torch.equal(method.select(nll)[sure], (nll > threshold)[sure])


@pytest.mark.slow
@given(st.integers(0, 60), st.sampled_from([0.07, 0.1, 1 / 3, 0.5, 0.7, 0.99]), st.integers(0, 99))
def test_of_a_batch_the_share_of_highest_loss_is_selected(tokens, share, seed):
    nll = torch.rand(tokens, generator=torch.Generator().manual_seed(seed))
    for method in (new("batch", share=share), new("global", share=share)):  # its queue is empty
        chosen = method.select(nll)
        assert share * tokens <= int(chosen.sum()) + 1e-6 < share * tokens + 1
        if 0 < int(chosen.sum()) < tokens:
            assert nll[chosen].min() >= nll[~chosen].max()


def test_the_queue_is_fed_the_losses_of_all_micro_batches():
    """`fit` joins the samples of all workers: two shares together are the whole batch."""
    raw = {"kind": "selective", "queue": 200, "signal": "topk"}
    whole, shared = Trial.of(raw), Trial.of(raw)
    one = whole.method(whole.student, whole.batch()).samples[NLL]
    two = [
        shared.method(shared.student, shared.batch(rows)).samples[NLL]
        for rows in ([0, 1, 2], [3, 4, 5])
    ]
    whole.method.after_update({}, {NLL: one})
    shared.method.after_update({}, {NLL: torch.cat(two)})
    torch.testing.assert_close(whole.method.values, shared.method.values)
    assert int(whole.method.filled) == 80 + len(one), "80 are those of `midway`"


def test_what_is_compared_is_the_loss_without_smoothing():
    trial = Trial.of({"kind": "selective", "signal": "topk", "label_smoothing": 0.5})
    batch = trial.batch()
    nll = trial.method(trial.student, batch).samples[NLL]
    plain = -Dense(trial, batch).log_label(Dense(trial, batch).student, View.REFERENCE, 1.0)
    torch.testing.assert_close(nll, plain.detach())


def test_the_queue_is_saved():
    method, other = new(queue=3), new(queue=3)
    remember(method, 1, 2, 3, 4)
    other.load_state_dict(method.state_dict())
    remember(method, 5)
    remember(other, 5)
    assert method.values.tolist() == other.values.tolist() == [5, 3, 4]


def test_the_batch_has_no_queue():
    method = new("batch", queue=30_000)
    assert method.values.numel() == 0
    trial = Trial.of({"kind": "selective", "scope": "batch", "signal": "topk"})
    assert not trial.method(trial.student, trial.batch()).samples


def test_the_logged_share_is_what_was_selected():
    trial = Trial.of({"kind": "selective", "scope": "batch", "share": 0.25, "signal": "topk"})
    parts = trial.method(trial.student, trial.batch()).parts
    tokens = int(trial.data.views[View.REFERENCE].lengths.sum())
    assert float(parts["selected/share"][0]) == -(-tokens // 4)
    assert 0 < float(parts["loss/selected"][0]) < float(parts["loss/token"][0])
