"""Draws in place of distributions, and several teachers in place of one."""

from dataclasses import replace

import pytest
import torch
from method_examples import ALL_METHODS, parse
from toy_distillation import Trial
from toy_teacher import TEACHER, VOCAB, drawn_targets, model

from kdray.methods import targets
from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.methods.targets import DenseTargets, Member, SoftTargets
from kdray.teacher.own import OnlineModels

DENSE = [
    name
    for name, raw in ALL_METHODS.items()
    if raw.get("signal") in ("hidden", "online") and raw["kind"] != "feature"
]  # feature has one teacher: layers of two cannot be averaged


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient(hidden, weight, soft, *, repeats=1):
    """Of the mean over repeats of Σ KL, in the states."""
    leaf = hidden.clone().requires_grad_()
    rows = leaf.repeat(repeats, 1)
    ones = rows.new_full((len(rows),), 1 / repeats)
    total = token_losses(rows, weight, soft=soft_loss(soft), soft_weight_N=ones).total
    return torch.autograd.grad(total, leaf)[0]


def test_the_mean_gradient_of_draws_is_the_dense_one(monkeypatch):
    """An error of 1/sqrt(number of draws): 64 times as many have an eighth of it."""
    monkeypatch.setattr(targets, "BLOCK_BYTES", 1 << 20)
    hidden, weight, logits = normal(6, 4, seed=1), normal(9, 4, seed=2), normal(6, 9, seed=3)
    dense = DenseTargets((Member(logits, torch.eye(9, dtype=torch.float64)),))
    exact = gradient(hidden, weight, dense)
    random = torch.Generator().manual_seed(4)
    errors = []
    for repeats in (100, 6400):
        p = logits.softmax(1).repeat(repeats, 1)
        soft = drawn_targets(p, draws=5, generator=random)
        found = gradient(hidden, weight, soft, repeats=repeats)
        errors.append(float((found - exact).square().mean().sqrt()))
    assert errors[1] < 0.01 * float(exact.abs().max())
    assert 4 < errors[0] / errors[1] < 16


def test_draws_have_no_tail_and_shares_that_sum_to_one():
    """What `drawn_targets` makes is what the forms on disk hold: so that the test above is one."""
    soft = drawn_targets(normal(20, 9, seed=1).softmax(1), draws=7, generator=torch.Generator())
    assert soft.log_tail_N.isneginf().all()
    torch.testing.assert_close(soft.logp_NK.exp().sum(1), torch.ones(20, dtype=torch.float64))
    assert all(len(set(row)) == len(row) for row in soft.ids_NK.tolist())


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSE)
def test_equal_teachers_are_one(name):
    teacher = model(2, TEACHER)
    one = Trial.of(ALL_METHODS[name], teacher=OnlineModels([teacher]))
    two = Trial.of(ALL_METHODS[name], teacher=OnlineModels([teacher, teacher]), written=one.written)
    torch.testing.assert_close(two.everything(), one.everything(), rtol=1e-9, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in DENSE if name.endswith("-hidden")])
def test_all_weight_on_one_teacher_is_that_teacher(name):
    """Stored weights: a teacher that runs beside the student averages evenly."""
    first, second = model(2, TEACHER), model(3, TEACHER)
    one = Trial.of(ALL_METHODS[name], teacher=OnlineModels([second]))
    two = Trial.of(ALL_METHODS[name], teacher=OnlineModels([first, second]))
    batch = two.batch()
    weighed = {}
    for view, target in batch.targets.items():
        teacher = target.teacher
        if teacher is not None:
            weights = torch.tensor([0.0, 1.0], dtype=torch.float64).log()
            weights = weights.expand(len(target.labels_N), 2)
            teacher = replace(teacher, log_weights_NM=weights)
        weighed[view] = replace(target, teacher=teacher)
    found = two.everything(replace(batch, targets=weighed))
    torch.testing.assert_close(found, one.everything(), rtol=1e-9, atol=1e-11)
    plain = two.everything(batch)
    assert not torch.allclose(plain["value"], found["value"], rtol=1e-6), "the other one counts"


def test_an_ensemble_is_the_mean_of_its_probabilities():
    each = [normal(5, VOCAB, seed=seed) for seed in (1, 2, 3)]
    eye = torch.eye(VOCAB, dtype=torch.float64)
    dense = DenseTargets(tuple(Member(logits, eye) for logits in each), temperature=2.0)
    p = torch.stack([logits.softmax(1) for logits in each]).mean(0)
    raised = p.sqrt() / p.sqrt().sum(1, keepdim=True)
    torch.testing.assert_close(dense.log_probs().exp(), raised)
    weights = normal(5, 3, seed=4).softmax(1)
    weighed = replace(dense, log_weights_NM=weights.log(), temperature=1.0)
    p = sum(w[:, None] * logits.softmax(1) for w, logits in zip(weights.T, each, strict=True))
    torch.testing.assert_close(weighed.log_probs().exp(), p)
    torch.testing.assert_close(weighed.entropy(), -(p * p.log()).sum(1))
    labels = torch.arange(5)
    torch.testing.assert_close(weighed.log_labels(labels), p.log()[labels, labels])


def test_parts_of_targets_are_their_rows():
    for form in ("topk", "hidden"):
        trial = Trial.of({"kind": "hard_gate", "signal": form})
        whole = trial.batch().targets["reference"].teacher
        logits, eye = normal(34, VOCAB, seed=1), torch.eye(VOCAB, dtype=torch.float64)
        rows = slice(3, 11)
        part = whole.part(rows)
        for ours, all_of_it in ((part, whole), (part.one_sided(), whole.one_sided())):
            found = token_losses(logits[rows], eye, soft=soft_loss(ours)).soft_N
            wanted = token_losses(logits, eye, soft=soft_loss(all_of_it)).soft_N[rows]
            torch.testing.assert_close(found, wanted)
        assert part.one_sided().temperature == 1 != part.temperature
        torch.testing.assert_close(part.one_sided().entropy(), part.entropy())
        torch.testing.assert_close(part.entropy(), whole.entropy()[rows])
        labels = trial.batch().targets["reference"].labels_N
        torch.testing.assert_close(part.log_labels(labels[rows]), whole.log_labels(labels)[rows])
        moved = whole.to(torch.device("cpu"))
        assert type(moved) is type(whole) in (SoftTargets, DenseTargets)


def test_a_teacher_is_frozen_when_it_is_taken_in():
    teacher = model(2, TEACHER).train()
    OnlineModels([teacher])
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_forms_that_a_method_cannot_read_are_refused():
    for raw in (
        {"kind": "tie", "signal": "hidden"},
        {"kind": "annealing", "signal": "topk"},
        {"kind": "taid", "signal": "sampled"},
        {"kind": "divergence", "divergence": "reverse", "signal": "sampled"},
        {"kind": "hard_gate", "signal": "sampled"},
        {"kind": "hybrid", "signal": "sampled", "gate": {"kind": "entropy"}},
    ):
        with pytest.raises(ValueError, match="does not hold what this method reads"):
            parse(raw)
