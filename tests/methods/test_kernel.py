"""The loss kernel against a dense reference in float64 that autograd differentiates."""

import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from toy_teacher import soft_targets

from kdray.methods import targets
from kdray.methods.kernel import label_log_probs, token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.methods.measures import FLOOR, forward, measure_of
from kdray.methods.targets import DenseTargets, Member, SoftTargets

TIGHT = {"rtol": 1e-8, "atol": 1e-10}
INPUTS = ("hidden", "weight", "hard_weight", "soft_weight")


def problem(*, n, v, d, k, seed=0, temperature=1.0, smoothing=0.0, size=1.0, whole=False):
    """Random inputs in float64, with a teacher that agrees with the student by chance only.

    It keeps k entries, or is `whole`: two teachers in one, and both also warmer than the student.
    """
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    soft = soft_targets(3 * normal(n, v), k=k, temperature=temperature) if k else None
    if whole:
        members = tuple(Member(3 * normal(n, 2), normal(v, 2)) for _ in range(2))
        weights = normal(n, 2).log_softmax(1)
        soft = DenseTargets(members, temperature, weights, own_temperature=1.5)
    return SimpleNamespace(
        hidden=size * normal(n, d),
        weight=normal(v, d),
        hard_weight=normal(n).abs(),
        soft_weight=normal(n).abs(),
        labels=torch.randint(v, (n,), generator=random),
        smoothing=smoothing,
        soft=soft,
        temperature=temperature,
    )


def kernel_losses(p, measure=forward):
    return token_losses(
        p.hidden,
        p.weight,
        labels_N=p.labels,
        hard_weight_N=p.hard_weight,
        label_smoothing=p.smoothing,
        soft=None if p.soft is None else soft_loss(p.soft, measure),
        soft_weight_N=p.soft_weight,
    )


def dense_losses(p):
    """Total, hard_N, soft_N from one [N, V] tensor; 0·log 0 is 0."""
    logits = p.hidden @ p.weight.T
    hard = logits.new_zeros(len(logits))
    if p.labels is not None:
        logq = logits.log_softmax(1)
        hard = -(1 - p.smoothing) * logq[torch.arange(len(logq)), p.labels]
        hard = hard - p.smoothing * logq.mean(1)
    soft = logits.new_zeros(len(logits))
    if isinstance(p.soft, DenseTargets):
        each = [(m.hidden_ND @ m.weight_VD.T).softmax(1) for m in p.soft.members]
        mean = sum(w[:, None] * e for w, e in zip(p.soft.log_weights_NM.exp().T, each, strict=True))
        teacher = (mean.log() / (1.5 * p.temperature)).softmax(1)
        soft = F.kl_div((logits / p.temperature).log_softmax(1), teacher, reduction="none").sum(1)
    elif p.soft is not None:
        logq = (logits / p.temperature).log_softmax(1)
        every = [logq.gather(1, p.soft.ids_NK)]
        logp = [p.soft.logp_NK]
        if p.soft.ids_NK.size(1) < logits.size(1):
            rest = logq.scatter(1, p.soft.ids_NK, -torch.inf).logsumexp(1, keepdim=True)
            every, logp = [*every, rest], [*logp, p.soft.log_tail_N[:, None]]
        logq_NJ, logp_NJ = torch.cat(every, 1), torch.cat(logp, 1)
        real = ~logp_NJ.isinf()
        difference = torch.where(real, logp_NJ, 0.0) - torch.where(real, logq_NJ, 0.0)
        soft = (logp_NJ.exp() * difference).sum(1)
    return (p.hard_weight * hard + p.soft_weight * soft).sum(), hard, soft


def with_gradients(losses, p):
    """Value, both losses and the gradients of 2·total to every input."""
    for name in INPUTS:
        setattr(p, name, getattr(p, name).detach().requires_grad_())
    total, hard, soft = losses(p)
    found = torch.autograd.grad(2 * total, [getattr(p, name) for name in INPUTS], allow_unused=True)
    grads = [
        torch.zeros_like(getattr(p, name)) if grad is None else grad
        for name, grad in zip(INPUTS, found, strict=True)
    ]
    return dict(zip(("total", "hard", "soft", *INPUTS), (total, hard, soft, *grads), strict=True))


def assert_dense(p, **tolerance):
    torch.testing.assert_close(
        with_gradients(kernel_losses, p), with_gradients(dense_losses, p), **(tolerance or TIGHT)
    )


SHAPES = st.integers(2, 30).flatmap(
    lambda v: st.fixed_dictionaries(
        {
            "n": st.integers(0, 40),
            "v": st.just(v),
            "d": st.integers(1, 6),
            "k": st.integers(0, v),
            "seed": st.integers(0, 10_000),
            "temperature": st.sampled_from([0.7, 1.0, 2.0, 5.0]),
            "smoothing": st.sampled_from([0.0, 0.1, 0.5]),
            "size": st.sampled_from([0.1, 1.0, 3.0]),
            "whole": st.booleans(),
        }
    )
)


@pytest.mark.slow
@given(SHAPES, st.booleans())
@example({"n": 3, "v": 9, "d": 2, "k": 9}, True)
@example({"n": 3, "v": 9, "d": 2, "k": 1, "temperature": 2.0}, False)
def test_agrees_with_the_dense_reference(shape, labelled):
    p = problem(**shape)
    if not labelled:
        p.labels = None
    assert_dense(p)


@pytest.mark.slow
@settings(max_examples=25)
@given(SHAPES)
def test_agrees_in_single_precision(shape):
    double = problem(**{**shape, "size": 1.0})
    expected = with_gradients(dense_losses, double)
    found = with_gradients(kernel_losses, in_single(double))
    for name, value in found.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-4, atol=2e-4)


def in_single(p):
    soft = p.soft
    if isinstance(soft, SoftTargets):
        soft = replace(soft, logp_NK=soft.logp_NK.float(), log_tail_N=soft.log_tail_N.float())
    elif soft is not None:
        members = tuple(Member(m.hidden_ND.float(), m.weight_VD.float()) for m in soft.members)
        soft = replace(soft, members=members, log_weights_NM=soft.log_weights_NM.float())
    values = {name: getattr(p, name).detach().float() for name in INPUTS}
    return SimpleNamespace(**{**vars(p), **values, "soft": soft})


def test_weights_default_to_one():
    p = problem(n=5, v=8, d=3, k=2)
    plain = token_losses(p.hidden, p.weight, labels_N=p.labels, soft=soft_loss(p.soft))
    p.hard_weight = p.soft_weight = torch.ones(5, dtype=torch.float64)
    torch.testing.assert_close(plain.total, kernel_losses(p).total, **TIGHT)


def blocks_of(positions):
    cpu = torch.device("cpu")
    return len(list(targets.row_blocks(positions, vocabulary=20, device=cpu)))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("whole", [False, True])
def test_many_blocks_equal_one(monkeypatch, temperature, whole):
    shape = {"n": 50, "v": 20, "d": 4, "k": 6, "smoothing": 0.1}
    p = problem(**shape, temperature=temperature, whole=whole)
    monkeypatch.setattr(targets, "BLOCK_BYTES", 1 << 20)
    assert blocks_of(50) == 1
    whole = with_gradients(kernel_losses, p)
    monkeypatch.setattr(targets, "BLOCK_BYTES", 1)  # 16 rows at a time: three blocks and a rest
    assert blocks_of(50) == 4
    torch.testing.assert_close(with_gradients(kernel_losses, p), whole, **TIGHT)
    assert_dense(p)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("divergence", ["reverse", "jensen_shannon", "adaptive"])
@pytest.mark.parametrize("precision", [torch.float64, torch.bfloat16])
def test_pieces_of_a_block_equal_it_bit_for_bit(monkeypatch, temperature, divergence, precision):
    p = problem(n=50, v=20, d=4, k=6, smoothing=0.1, temperature=temperature, whole=True)

    def losses():
        with torch.autocast("cpu", precision, enabled=precision is torch.bfloat16):
            return with_gradients(partial(kernel_losses, measure=measure_of(divergence)), p)

    if precision is torch.bfloat16:
        p = in_single(p)
    monkeypatch.setattr(targets, "BLOCK_BYTES", 1 << 20)
    of_rows = {"vocabulary": 20, "device": torch.device("cpu")}
    monkeypatch.setattr(targets, "PIECE_BYTES", 1 << 20)
    assert targets.pieces(50, **of_rows) == [slice(0, 50)]
    block = losses()
    monkeypatch.setattr(targets, "PIECE_BYTES", 4 * 20 * 7)
    assert [part.stop for part in targets.pieces(50, **of_rows)] == [*range(7, 50, 7), 50]
    torch.testing.assert_close(losses(), block, rtol=0, atol=0)


def test_log_probs_of_labels_are_those_of_the_losses():
    p = problem(n=40, v=7, d=3, k=0)
    found = label_log_probs(p.hidden, p.weight, p.labels)
    torch.testing.assert_close(found, -kernel_losses(p).hard_N, **TIGHT)


def test_no_position_is_no_loss():
    found = with_gradients(kernel_losses, problem(n=0, v=7, d=3, k=2))
    assert found["total"] == 0
    assert found["weight"].shape == (7, 3)
    assert not found["weight"].any()


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_all_entries_kept_is_the_dense_divergence(temperature):
    p = problem(n=6, v=11, d=3, k=11, temperature=temperature)
    assert p.soft.log_tail_N.isinf().all()
    found = with_gradients(kernel_losses, p)
    logp = torch.zeros(6, 11, dtype=torch.float64).scatter(1, p.soft.ids_NK, p.soft.logp_NK)
    logq = (p.hidden @ p.weight.T / temperature).log_softmax(1)
    kl_N = F.kl_div(logq, logp, log_target=True, reduction="none").sum(1)
    torch.testing.assert_close(found["soft"], kl_N.detach(), **TIGHT)
    (expected,) = torch.autograd.grad((2 * p.soft_weight * kl_N).sum(), p.hidden, retain_graph=True)
    p.hard_weight = torch.zeros(6, dtype=torch.float64)
    torch.testing.assert_close(with_gradients(kernel_losses, p)["hidden"], expected, **TIGHT)


@pytest.mark.parametrize("k", [1, 3, 9])
def test_one_hot_teacher_is_cross_entropy(k):
    p = problem(n=6, v=9, d=3, k=k)
    p.soft.ids_NK[:] = (p.labels[:, None] + torch.arange(k)) % 9  # the label first
    p.soft.logp_NK.fill_(-torch.inf)[:, 0] = 0.0
    p.soft.log_tail_N.fill_(-torch.inf)
    p.soft_weight = p.hard_weight
    found = with_gradients(kernel_losses, p)
    torch.testing.assert_close(found["soft"], found["hard"], **TIGHT)
    assert_dense(p)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("k", [1, 4, 12])
def test_student_equal_to_teacher_has_no_loss_and_no_gradient(k, temperature):
    """Without the bucket the head alone would still pull: it would grow to 1/Σ_K p."""
    p = problem(n=7, v=12, d=4, k=k)
    p.hard_weight = torch.zeros(7, dtype=torch.float64)
    p.soft = soft_targets(p.hidden @ p.weight.T, k=k, temperature=temperature)
    p.temperature = temperature
    found = with_gradients(kernel_losses, p)
    assert found["soft"].abs().max() < 1e-12
    assert found["hidden"].abs().max() < 1e-12
    assert found["weight"].abs().max() < 1e-12
    if k < 12:
        logq = (p.hidden @ p.weight.T / temperature).log_softmax(1).gather(1, p.soft.ids_NK)
        head_alone = (p.soft.logp_NK.exp() * (p.soft.logp_NK - logq)).sum()
        assert torch.autograd.grad(head_alone, p.hidden)[0].abs().max() > 0.01


@pytest.mark.slow
@given(SHAPES)
def test_divergence_is_never_negative(shape):
    p = problem(**{**shape, "k": max(1, shape["k"])})
    assert (kernel_losses(p).soft_N > -1e-12).all()


def test_a_sure_student_still_feels_the_bucket():
    """The student puts e^-60 outside what is kept, the teacher a tenth: exact, not cut off."""
    p = problem(n=1, v=6, d=6, k=2)
    p.weight = torch.eye(6, dtype=torch.float64)
    p.hidden = torch.tensor([[30.0, 29.0, -30.0, -31.0, -30.5, -30.0]], dtype=torch.float64)
    p.soft = SoftTargets(
        torch.tensor([[0, 1]]),
        torch.tensor([[0.6, 0.3]], dtype=torch.float64).log(),
        torch.tensor([0.1], dtype=torch.float64).log(),
    )
    assert_dense(p)
    assert with_gradients(kernel_losses, p)["soft"] > 5


def test_what_is_lost_in_single_precision_has_its_floor_and_its_digits():
    """Four of six entries are e^-200 and less: the bucket is at the floor, a label there is not."""
    logits = torch.tensor([[0.5, 0.0, -200.0, -201.0, -202.0, -203.0]])
    matrix, log_floor = torch.eye(6), FLOOR
    soft = SoftTargets(
        torch.tensor([[0, 1]]), torch.tensor([[0.6, 0.3]]).log(), torch.tensor([0.1]).log()
    )
    hidden = logits.clone().requires_grad_()
    losses = token_losses(hidden, matrix, soft=soft_loss(soft))
    (gradient,) = torch.autograd.grad(losses.total, hidden)
    log_q = logits[0, :2].log_softmax(0)
    p = torch.tensor([0.6, 0.3])
    bucket = 0.1 * (math.log(0.1) - log_floor - math.log(4))
    torch.testing.assert_close(losses.soft_N[0], (p * (p.log() - log_q)).sum() + bucket)
    torch.testing.assert_close(gradient[0, 2:], torch.full((4,), -0.025))
    assert gradient.sum().abs() < 1e-6
    hard = token_losses(logits, matrix, labels_N=torch.tensor([2]))
    torch.testing.assert_close(hard.hard_N[0], logits[0].logsumexp(0) + 200)


def test_entropy_counts_the_bucket_as_one_entry():
    logits = torch.randn(5, 9, dtype=torch.float64)
    p = logits.softmax(1)
    whole = -(p * p.log()).sum(1)
    torch.testing.assert_close(soft_targets(logits, k=9).entropy(), whole)
    some = soft_targets(logits, k=4)
    tail = some.log_tail_N.exp()
    kept = p.sort(descending=True).values[:, :4]
    expected = -(kept * kept.log()).sum(1) - tail * tail.log()
    torch.testing.assert_close(some.entropy(), expected)
    assert (some.entropy() < whole).all()
