"""Whatever the logits, the shapes and the masks: values and gradients are finite.

For the kernel with every loss, in both precisions, with teachers that keep some entries,
all of them, draws, one alone, or that are whole.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from measured_losses import NAMES, measured_losses
from toy_distillation import Trial
from toy_teacher import CPU, drawn_targets, soft_targets

from kdray.methods import measures
from kdray.methods.annealing import DampedLogits
from kdray.methods.base import Target, sentence_means
from kdray.methods.kernel import label_log_probs, token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.methods.measures import measure_of
from kdray.methods.sequences import build_target
from kdray.methods.taid import Interpolated
from kdray.methods.targets import DenseTargets, Member, SoftTargets
from kdray.methods.tie import Ranked
from kdray.schema import View
from kdray.text.sequences import Sequences

pytestmark = pytest.mark.slow

EXTREME = st.sampled_from([0.0, 1.0, -1.0, 30.0, 100.0, -100.0, 1e4, -1e4])


@st.composite
def problems(draw):
    """Logits of a student and a teacher: any of ±1e4, ties and all the same. -> with the form."""
    n, v = draw(st.integers(0, 20)), draw(st.integers(2, 7))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    seed = draw(st.integers(0, 9999))
    values = torch.tensor(draw(st.lists(EXTREME, min_size=1, max_size=4)), dtype=dtype)
    random = torch.Generator().manual_seed(seed)
    student, teacher = (
        values[torch.randint(len(values), (n, v), generator=random)]
        + draw(st.sampled_from([0.0, 1.0])) * torch.randn(n, v, generator=random, dtype=dtype)
        for _ in range(2)
    )
    if draw(st.booleans()):
        student = teacher.clone()
    form = draw(st.sampled_from(["topk", "all", "drawn", "one_hot", "whole"]))
    labels = torch.randint(v, (n,), generator=random)
    return student, soft(form, teacher, labels, draw(st.sampled_from([1.0, 0.5, 4.0]))), labels


def soft(form, logits, labels, temperature):
    n, v = logits.shape
    if form == "topk":
        return soft_targets(logits, k=1, temperature=temperature)
    if form == "all":
        return soft_targets(logits, k=v, temperature=temperature)
    if form == "drawn" and n:
        random = torch.Generator().manual_seed(1)
        return drawn_targets(logits.softmax(1), draws=3, generator=random)
    if form == "one_hot":
        nothing = logits.new_full((n,), -torch.inf)
        return SoftTargets(labels[:, None], logits.new_zeros(n, 1), nothing, temperature)
    eye = torch.eye(v, dtype=logits.dtype)
    return DenseTargets((Member(logits, eye),), temperature)


def assert_finite(total, at_each, *leaves):
    total.backward()
    for value in (total, *at_each, *(leaf.grad for leaf in leaves)):
        assert value.isfinite().all(), value


def leaves_of(student):
    return student.clone().requires_grad_(), torch.eye(
        student.size(1), dtype=student.dtype
    ).requires_grad_()


@settings(max_examples=150)
@given(problems(), st.sampled_from([0.0, 0.1]))
def test_the_kernel_stays_finite(problem, smoothing):
    student, teacher, labels = problem
    hidden, weight = leaves_of(student)
    weights = torch.linspace(0, 1, len(labels), dtype=student.dtype).requires_grad_()
    losses = token_losses(
        hidden,
        weight,
        labels_N=labels,
        hard_weight_N=1 - weights,
        label_smoothing=smoothing,
        soft=soft_loss(teacher),
        soft_weight_N=weights,
    )
    assert_finite(losses.total, (losses.hard_N, losses.soft_N), hidden, weight, weights)
    rounding = 1e-3 * max(1.0, float(student.abs().max())) if len(labels) else 0
    assert (losses.soft_N >= -rounding).all()


@settings(max_examples=60)
@given(problems(), st.sampled_from([0.0, 0.1]), st.sampled_from([0.3, 1.0]))
def test_every_divergence_stays_finite(problem, smoothing, alpha):
    student, teacher, labels = problem
    for name in NAMES:
        hidden, weight = leaves_of(student)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(measures, "LIKELIEST", 2)  # so that a head may be longer
            losses = measured_losses(
                hidden, weight, measure_of(name), teacher=teacher, labels_N=labels, alpha=alpha,
                label_smoothing=smoothing,
            )  # fmt: skip
        assert_finite(losses.total, (losses.hard_N, losses.soft_N), hidden, weight)


@given(problems())
def test_what_gates_look_at_stays_finite(problem):
    student, teacher, labels = problem
    eye = torch.eye(student.size(1), dtype=student.dtype)
    assert label_log_probs(student, eye, labels).isfinite().all()
    assert teacher.entropy().isfinite().all()
    assert (teacher.entropy() >= 0).all()


@given(problems(), st.booleans())
def test_what_methods_add_to_the_kernel_stays_finite(problem, labelled):
    student, _, labels = problem
    eye = torch.eye(student.size(1), dtype=student.dtype)
    teacher = DenseTargets((Member(student.flip(1), eye),))
    for soft in (Ranked(teacher, 5), Interpolated(teacher, 0.3), DampedLogits(teacher, 0.3)):
        hidden, weight = leaves_of(student)
        weights = torch.linspace(0, 1, len(labels), dtype=student.dtype).requires_grad_()
        losses = token_losses(
            hidden, weight, labels_N=labels if labelled else None, soft=soft, soft_weight_N=weights
        )
        assert_finite(losses.total, (losses.hard_N, losses.soft_N), hidden, weight, weights)


@given(st.lists(st.lists(st.integers(4, 9), max_size=6), min_size=1, max_size=5))
def test_a_target_has_its_tokens_and_no_other(rows):
    """Also where a sequence has no token at all."""
    ids = Sequences.from_lists(rows)
    target = build_target(ids, np.arange(len(rows)), device=CPU)
    assert target.labels_N.tolist() == [i for row in rows for i in row]
    if all(rows):
        means = sentence_means(target.labels_N.double(), target, sentences=len(rows))
        assert means.tolist() == pytest.approx([sum(row) / len(row) for row in rows])


@pytest.mark.parametrize(
    "raw",
    [
        {"kind": "token_level", "signal": "topk"},
        {"kind": "token_level", "signal": "hidden"},
        {"kind": "selective", "scope": "batch", "signal": "topk"},
        {"kind": "selective", "scope": "global", "signal": "hidden"},
        {"kind": "hard_gate", "signal": "topk"},
        {"kind": "hard_gate", "per": "sentence", "signal": "hidden"},
        {"kind": "divergence", "divergence": "adaptive", "signal": "topk"},
        {"kind": "taid", "signal": "hidden"},
        {"kind": "annealing", "signal": "hidden"},
        {"kind": "tie", "signal": "online"},
    ],
    ids=lambda raw: raw["kind"],
)
def test_a_batch_without_a_token_is_no_loss(raw):
    """As a share of a batch may be whose tokens are all masked; its encoder still runs."""
    trial = Trial.of({**raw})
    batch = trial.batch([0, 1])
    none = torch.zeros(0, dtype=torch.long)
    empty = {}
    for view, target in batch.targets.items():
        teacher = target.teacher.part(slice(0, 0))
        empty[view] = Target(target.inputs_BT, none, none, none, teacher)
    batch = type(batch)(batch.src_BS, batch.src_mask_BS, empty, batch.teacher)
    loss = trial.method(trial.student, batch)
    assert View.REFERENCE in empty
    found = trial.everything(batch)
    assert all(not value.any() for value in found.values())
    assert all(float(total) == 0 for total, _ in loss.parts.values())
