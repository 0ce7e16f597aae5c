"""Each divergence: its formula, its zero, and that all forms of a teacher agree when whole."""

import math

import pytest
import torch
from dense_divergences import divergence
from hypothesis import given
from hypothesis import strategies as st
from measured_losses import NAMES, measured_losses, pair, slope_in_logits
from toy_teacher import soft_targets

from kdray.methods import measures
from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.methods.measures import measure_of
from kdray.methods.targets import DenseTargets, Member

N, V, D = 20, 9, 5  # two blocks
TIGHT = {"rtol": 1e-9, "atol": 1e-11}
inner = st.floats(0.02, 0.98)


def normal(*shape, seed=0, size=1.0):
    random = torch.Generator().manual_seed(seed)
    return size * torch.randn(*shape, generator=random, dtype=torch.float64)


def learned(measure, hidden, weight, teacher, **options):
    """Value and gradients of (1−α)·CE + α·D, and D at each position."""
    hidden, weight = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    labels = torch.arange(len(hidden)) % len(weight)
    losses = measured_losses(hidden, weight, measure, teacher=teacher, labels_N=labels, **options)
    losses.total.backward()
    return losses.total.detach(), hidden.grad, weight.grad, losses.soft_N


@pytest.mark.slow
@given(st.integers(0, 999), inner, inner, inner, st.floats(0.1, 4.0))
def test_it_is_the_formula_in_value_and_gradient(seed, beta, skew, head, size):
    p = normal(3, V, seed=seed, size=size).softmax(1)
    numbers = {"beta": beta, "skew": skew, "head": head}
    for name in NAMES:
        logits = normal(3, V, seed=seed + 1).requires_grad_()
        found = measure_of(name, **numbers)(pair(p.log(), logits.detach().log_softmax(1)))
        wanted = divergence(name, p, logits.softmax(1), **numbers)
        torch.testing.assert_close(found.value, wanted.detach(), **TIGHT)
        torch.testing.assert_close(
            slope_in_logits(found, logits.detach().softmax(1)),
            torch.autograd.grad(wanted.sum(), logits)[0],
            **TIGHT,
        )
        assert (found.value > 0).all()


@pytest.mark.parametrize("form", ["whole", "some"])
@pytest.mark.parametrize("name", NAMES)
def test_it_is_zero_without_a_gradient_where_both_agree(name, form):
    hidden, weight = normal(N, D), normal(V, D, seed=1)
    teacher = DenseTargets((Member(hidden, weight),))
    if form == "some":
        teacher = soft_targets(hidden @ weight.T, k=4)
    value, *grads, at_each = learned(measure_of(name), hidden, weight, teacher)
    assert value.abs() < 1e-12
    assert at_each.abs().max() < 1e-13
    assert all(grad.abs().max() < 1e-12 for grad in grads)


@pytest.mark.parametrize("name", NAMES)
def test_all_entries_kept_are_the_whole_distribution(name):
    """k = V: an empty bucket adds nothing to value or gradient."""
    hidden, weight = normal(N, D), normal(V, D, seed=1)
    teacher = Member(normal(N, 3, seed=2), normal(V, 3, seed=3))
    whole = DenseTargets((teacher,))
    kept = soft_targets(whole.logits(), k=V)
    assert kept.log_tail_N.isneginf().all()
    options = {"alpha": 0.7, "label_smoothing": 0.1}
    for found, wanted in zip(
        learned(measure_of(name), hidden, weight, kept, **options),
        learned(measure_of(name), hidden, weight, whole, **options),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, **TIGHT)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_all_entries_kept_are_the_whole_distribution_in_the_kernel(temperature):
    hidden, weight = normal(N, D).requires_grad_(), normal(V, D, seed=1).requires_grad_()
    whole = DenseTargets((Member(normal(N, 3, seed=2), normal(V, 3, seed=3)),), temperature)
    kept = soft_targets(whole.logits(), k=V, temperature=temperature)
    weights = normal(N, seed=4).abs()
    found, wanted = (
        token_losses(hidden, weight, soft=soft_loss(targets), soft_weight_N=weights)
        for targets in (kept, whole)
    )
    torch.testing.assert_close(found.soft_N, wanted.soft_N, **TIGHT)
    for ours, theirs in zip(
        *(torch.autograd.grad(each.total, (hidden, weight)) for each in (found, wanted)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, **TIGHT)


@pytest.mark.slow
@given(st.integers(0, 999), st.integers(1, V - 1))
def test_a_bucket_never_adds(seed, k):
    """What the teacher does not tell apart cannot be learned: a coarser view is no farther."""
    hidden, weight = normal(4, D, seed=seed), normal(V, D, seed=seed + 1)
    teacher = DenseTargets((Member(normal(4, D, seed=seed + 2), weight),))
    kept = soft_targets(teacher.logits(), k=k)
    for name in NAMES[:-1]:  # adaptive is no f-divergence: its weights change with the view
        some = learned(measure_of(name), hidden, weight, kept)[-1]
        assert (some <= learned(measure_of(name), hidden, weight, teacher)[-1] + 1e-12).all(), name


@pytest.mark.parametrize("name", ["jensen_shannon", "total_variation"])
def test_of_two_with_nothing_in_common_it_is_at_its_bound(name):
    log_p = torch.tensor([[0.0, -torch.inf]], dtype=torch.float64)
    found = measure_of(name)(pair(log_p, log_p.flip(1)))
    assert float(found.value) == pytest.approx(
        {"jensen_shannon": math.log(2), "total_variation": 1}[name]
    )


def test_what_the_teacher_rules_out_counts_as_80_nats():
    for nothing in (-200.0, -torch.inf):
        log_p = torch.tensor([[0.0, nothing]], dtype=torch.float64)
        log_q = torch.tensor([[0.5, 0.5]], dtype=torch.float64).log()
        assert float(measure_of("reverse")(pair(log_p, log_q)).value) == pytest.approx(
            math.log(0.5) + 40
        )


@pytest.mark.slow
@given(st.integers(0, 999), st.floats(0.05, 0.95), st.floats(0.1, 6.0))
def test_a_head_that_is_longer_than_what_is_looked_at_first_is_found(seed, head, size):
    p, q = (size * normal(4, 200, seed=seed + i) for i in range(2))
    x = pair(p.log_softmax(1), q.log_softmax(1))
    measure = measure_of("adaptive", head=head)
    found = measure(x)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(measures, "LIKELIEST", 200)
        for ours, wanted in zip(found, measure(x), strict=True):
            torch.testing.assert_close(ours, wanted, **TIGHT)
