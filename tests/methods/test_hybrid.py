"""What the hybrid logs about its gate, and that it runs the encoder once."""

import math

import pytest
import torch
from toy_distillation import build, model

LAYOUTS = ("two_pass", "one_pass")


def hybrid(layout, **gate):
    return build({"kind": "hybrid", "layout": layout, "gate": gate})


def averages(method, student, task):
    counts = task.counts()
    parts = method(student, task.batch(method)).parts
    return {name: float(total) / counts[per] for name, (total, per) in parts.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_mean_and_spread_of_the_gate_are_logged(layout, task):
    method, student = hybrid(layout, kind="sentence"), model(1)
    metrics = method.after_update(averages(method, student, task))
    batch = task.batch(method)
    g = method.gate(student.encode(batch.src_BS, batch.src_mask_BS), batch.src_mask_BS).detach()
    assert math.isclose(metrics["gate/mean"], float(g.mean()), rel_tol=1e-9)
    assert math.isclose(metrics["gate/std"], float(g.std(correction=0)), rel_tol=1e-6)
    assert metrics["gate/std"] > 0.01
    assert "gate/square" not in metrics


def test_spread_of_a_fixed_gate_is_zero_in_spite_of_rounding(task):
    method = hybrid("two_pass", kind="fixed", value=0.3)
    assert method.after_update(averages(method, model(1), task))["gate/std"] < 1e-7


@pytest.mark.parametrize("layout", LAYOUTS)
def test_logged_losses_are_unweighted(layout, task):
    """The gate decides what is learned, not what is reported."""
    low, high = (hybrid(layout, kind="fixed", value=g) for g in (0.0, 1.0))
    student = model(1)
    first, second = averages(low, student, task), averages(high, student, task)
    for name in ("loss/token", "loss/sentence"):
        assert first[name] > 0
        assert first[name] == second[name]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_encoder_runs_once(layout, task, monkeypatch):
    method, student = hybrid(layout, kind="sentence"), model(1)
    calls, encode = [], student.encode
    monkeypatch.setattr(student, "encode", lambda *args: calls.append(1) or encode(*args))
    method(student, task.batch(method))
    assert len(calls) == 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_dropout_is_shared_between_gate_and_losses(layout, task):
    """Both read the same encoder states, so a seed decides the whole loss."""
    method, student = hybrid(layout, kind="sentence"), model(1)
    student.dropout.dropped = 64
    student.train()
    batch, found = task.batch(method), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        terms = method(student, batch).terms
        found.append([float(total.detach()) for total in terms.values()])
    assert found[0] == found[1] != found[2]
