"""What the hybrid logs about its gate, and that it runs the encoder once."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from method_examples import GATES
from toy_distillation import Trial

from kdray.methods.base import Per, sentence_sums
from kdray.methods.gate_statistics import gate_statistics
from kdray.schema import View

LAYOUTS = ("two_pass", "one_pass")


def hybrid(layout, gate="sentence_prior", *, dtype=torch.float64, **numbers):
    raw = {"kind": "hybrid", "layout": layout, "gate": {**GATES[gate], **numbers}}
    return Trial.of({**raw, "signal": "topk"}, dtype=dtype)


def averages(trial):
    parts = trial.method(trial.student, trial.batch()).parts
    return {name: float(total) / trial.counts[per] for name, (total, per) in parts.items()}


@pytest.mark.slow
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50), st.integers(0, 99))
def test_a_histogram_sums_to_one_and_classes_of_length_make_up_the_mean(gates, seed):
    gate_B = torch.tensor(gates, dtype=torch.float64)
    random = torch.Generator().manual_seed(seed)
    lengths_B = torch.randint(1, 50, (len(gates),), generator=random).double()
    found = gate_statistics(gate_B, lengths_B)
    bins = {name: share for name, share in found.items() if "histogram" in name}
    assert list(bins) == [f"gate/histogram/{i / 10:.1f}" for i in range(10)]
    assert sum(bins.values()) == pytest.approx(1)
    for name, share in bins.items():
        low = round(10 * float(name.rsplit("/", 1)[1]))
        inside = [min(int(g * 10), 9) == low for g in gate_B.tolist()]
        assert share == pytest.approx(sum(inside) / len(inside))
    assert found["gate/mean"] == pytest.approx(float(gate_B.mean()))
    assert found["gate/std"] == pytest.approx(float(gate_B.var(correction=0)) ** 0.5, abs=1e-9)
    total, classes = 0.0, (("01-08", 1, 8), ("09-16", 9, 16), ("17-32", 17, 32), ("33-", 33, 99))
    for name, first, last in classes:
        inside = (lengths_B >= first) & (lengths_B <= last)
        assert (f"gate/by_length/{name}" in found) == bool(inside.any())
        if inside.any():
            mean = found[f"gate/by_length/{name}"]
            assert mean == pytest.approx(float(gate_B[inside].mean()))
            total += mean * int(inside.sum())
    assert total == pytest.approx(float(gate_B.sum()))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_gate_that_is_logged_is_the_one_that_is_used(layout):
    trial = hybrid(layout)
    batch = trial.batch()
    samples = trial.method(trial.student, batch).samples
    g = trial.method.mix(trial.student, batch).gate_G.detach()
    assert torch.equal(samples["gate"], g)
    assert samples["source_length"].tolist() == trial.data.src.lengths.tolist()
    metrics = trial.method.after_update(averages(trial), samples)
    assert metrics["gate/mean"] == pytest.approx(float(g.mean()))
    assert metrics["gate/std"] > 0.01
    assert metrics["loss/token"] == averages(trial)["loss/token"]


def test_a_gate_of_tokens_is_logged_as_the_mean_of_its_sentences():
    trial = hybrid("one_pass", "token_none")
    batch = trial.batch()
    samples = trial.method(trial.student, batch).samples
    g = trial.method.mix(trial.student, batch).gate_G.detach()
    lengths = trial.data.views["hypothesis"].lengths.tolist()
    assert samples["gate"].tolist() == pytest.approx([float(p.mean()) for p in g.split(lengths)])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_logged_losses_are_unweighted(layout):
    """The gate decides what is learned, not what is reported."""
    first, second = (averages(hybrid(layout, "fixed", value=g)) for g in (0.0, 1.0))
    for name in ("loss/token", "loss/sentence"):
        assert first[name] > 0
        assert first[name] == second[name]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_encoder_runs_once(layout, monkeypatch):
    trial = hybrid(layout)
    batch, calls, encode = trial.batch(), [], trial.student.encode
    monkeypatch.setattr(trial.student, "encode", lambda *args: calls.append(1) or encode(*args))
    trial.method(trial.student, batch)
    assert len(calls) == 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_dropout_is_shared_between_gate_and_losses(layout):
    """Both read the same encoder states, so a seed decides the whole loss."""
    trial = hybrid(layout)
    trial.student.dropout.dropped = 64
    trial.student.train()
    batch, found = trial.batch(), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        terms = trial.method(trial.student, batch).terms
        found.append([float(total.detach()) for total in terms.values()])
    assert found[0] == found[1] != found[2]


def test_the_sums_of_gates_make_up_the_objective():
    """What the bilevel step differentiates: Σ_i g_i·a_i + (1−g_i)·b_i, with T² in a."""
    for layout, gate in (("two_pass", "scalar_none"), ("one_pass", "token_none")):
        raw = {"kind": "hybrid", "layout": layout, "gate": GATES[gate], "temperature": 2.0}
        trial = Trial.of({**raw, "signal": "topk"})
        batch = trial.batch()
        mixture = trial.method.mix(trial.student, batch)
        token_G, sentence_G = trial.method.losses_of_gates(mixture, batch, reduce=sentence_sums)
        per_token, per_hypothesis = (
            trial.counts[Per.token_of(view)]
            for view in (trial.method.needs.views[0], View.HYPOTHESIS)
        )
        g = mixture.gate_G
        total = (g * token_G).sum() / per_token + ((1 - g) * sentence_G).sum() / per_hypothesis
        assert math.isclose(total.item(), trial.objective(batch).item(), rel_tol=1e-9)
