"""Every loss that the kernel folds in: value and gradients, with weights and labels, at each T."""

from functools import partial

import pytest
import torch
from dense_divergences import divergence, kl
from dense_formulas import ranking
from measured_losses import NAMES
from torch.nn import functional as F
from toy_teacher import soft_targets

from kdray.methods.annealing import DampedLogits
from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import AutogradLoss, soft_loss
from kdray.methods.measures import measure_of
from kdray.methods.taid import Interpolated
from kdray.methods.targets import DenseTargets, Member, SoftTargets
from kdray.methods.tie import Ranked

N, V, D, K = 40, 9, 5, 4  # three blocks
NUMBERS = {"beta": 0.3, "skew": 0.2, "head": 0.6}
SMOOTHING = 0.1
TIGHT = {"rtol": 1e-8, "atol": 1e-10}


def normal(*shape, seed, size=1.0):
    random = torch.Generator().manual_seed(seed)
    return size * torch.randn(*shape, generator=random, dtype=torch.float64)


def buckets(probabilities, ids):
    """The entries at the ids, and one for all others. -> [N, K+1]."""
    others = probabilities.scatter(1, ids, 0.0).sum(1, keepdim=True)
    return torch.cat((probabilities.gather(1, ids), others), dim=1)


def written(name):
    """A divergence as an author would write it."""

    def loss(student, teacher):
        q = student.softmax(1)
        if isinstance(teacher, SoftTargets):
            p = torch.cat((teacher.logp_NK, teacher.log_tail_N[:, None]), dim=1).exp()
            return divergence(name, p, buckets(q, teacher.ids_NK), **NUMBERS)
        return divergence(name, teacher.softmax(1), q, **NUMBERS)

    return loss


def measured(name, form, temperature, *, by_autograd=False):
    """A divergence of stored entries, or of whole distributions. -> the loss, its formula."""
    member = Member(normal(N, 3, seed=1), normal(V, 3, seed=2))
    whole = DenseTargets((member,), temperature)
    logits = whole.logits()
    p = (logits / temperature).softmax(1)
    kept = soft_targets(logits, k=K, temperature=temperature)

    def formula(z):
        q = (z / temperature).softmax(1)
        if form == "whole":
            return divergence(name, p, q, **NUMBERS)
        return divergence(name, buckets(p, kept.ids_NK), buckets(q, kept.ids_NK), **NUMBERS)

    if by_autograd:
        return AutogradLoss(whole if form == "whole" else kept, written(name)), formula
    measure = measure_of(name, **NUMBERS)
    return soft_loss(whole if form == "whole" else kept, measure), formula


def interpolated():
    teacher = DenseTargets((Member(normal(N, 3, seed=1), normal(V, 3, seed=2)),))

    def formula(z):
        between = (0.7 * z.detach() + 0.3 * teacher.logits()).softmax(1)
        return -(between * z.log_softmax(1)).sum(1)

    return Interpolated(teacher, 0.3), formula


def damped():
    teacher = DenseTargets((Member(normal(N, 3, seed=1), normal(V, 3, seed=2)),))

    def formula(z):
        ours, theirs = (x - x.mean(1, keepdim=True) for x in (z, teacher.logits()))
        return (ours - 0.3 * theirs).square().sum(1)

    return DampedLogits(teacher, 0.3), formula


def ranked():
    teacher = DenseTargets((Member(normal(N, 3, seed=1), normal(V, 3, seed=2)),))
    p = teacher.logits().softmax(1)
    return Ranked(teacher, 3), lambda z: kl(p, z.softmax(1)) + ranking(p, z.softmax(1), 3)


LOSSES = {
    f"{name}-{form}-{temperature}{way}": partial(
        measured, name, form, temperature, by_autograd=bool(way)
    )
    for name in NAMES
    for form in ("some", "whole")
    for temperature in (0.7, 1.0, 2.0)
    for way in ("", "-autograd")
} | {"interpolated": interpolated, "damped": damped, "ranked": ranked}


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("which", LOSSES)
def test_value_and_gradients_are_those_of_the_formula(which, labelled):
    """Of states, matrix and both weights, which differ from position to position."""
    soft, formula = LOSSES[which]()
    leaves = [normal(N, D, seed=3), normal(V, D, seed=4), *normal(2, N, seed=5).abs()]
    hidden, weight, hard_weight, soft_weight = (leaf.requires_grad_() for leaf in leaves)
    labels = torch.arange(N) % V if labelled else None
    found = token_losses(
        hidden, weight, labels_N=labels, hard_weight_N=hard_weight, label_smoothing=SMOOTHING,
        soft=soft, soft_weight_N=soft_weight,
    )  # fmt: skip
    z = hidden @ weight.T
    loss = formula(z)
    torch.testing.assert_close(found.soft_N, loss.detach(), **TIGHT)
    wanted = (soft_weight * loss).sum()
    if labelled:
        hard = F.cross_entropy(z, labels, reduction="none", label_smoothing=SMOOTHING)
        wanted = wanted + (hard_weight * hard).sum()
    torch.testing.assert_close(found.total, wanted, **TIGHT)
    given = (hidden, weight, hard_weight, soft_weight)
    ours, theirs = (
        torch.autograd.grad(total, given, allow_unused=True, materialize_grads=True)
        for total in (found.total, wanted)
    )
    torch.testing.assert_close(ours, theirs, **TIGHT)


def test_a_loss_that_reads_no_softmax_has_none_made_for_it(monkeypatch):
    """Zeros are in its place, unless cross-entropy reads it too."""
    given = []
    fold = DampedLogits.fold

    def seen(self, at):
        given.append(bool(at.q.any()))
        return fold(self, at)

    monkeypatch.setattr(DampedLogits, "fold", seen)
    for labels in (None, torch.arange(N) % V):
        soft, _ = damped()
        token_losses(normal(N, D, seed=3), normal(V, D, seed=4), labels_N=labels, soft=soft)
    assert given == [False] * 3 + [True] * 3
