"""The laws of every method: what its loss is, and what must never change it."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from toy_distillation import (
    PAIRS,
    Task,
    build,
    gradients,
    model,
    objective,
    padded_further,
    parse,
)

from kdray.config import (
    CrossEntropyConfig,
    HybridConfig,
    SentenceGateConfig,
    SentenceLevelConfig,
    TokenLevelConfig,
)
from kdray.methods.base import Per
from kdray.schema import Signal, View

EXACT = {"rtol": 1e-9, "atol": 1e-11}
LEARNED = {"prior", "none"}  # gates that learn from the mixture itself


def dense_objective(config, method, student, batch, counts):
    """The formula of each method over whole logits, differentiated by autograd. Written apart."""
    memory = student.encode(batch.src_BS, batch.src_mask_BS)

    def logits(view):
        target = batch.targets[view]
        full = student.decode(target.inputs_BT, memory, batch.src_mask_BS) @ student.output_weight.T
        return full.flatten(0, 1)[target.positions_N]

    def ce(view, smoothing):
        labels = batch.targets[view].labels_N
        return F.cross_entropy(logits(view), labels, reduction="none", label_smoothing=smoothing)

    def kl(view, temperature):
        soft = batch.targets[view].soft
        logq = (logits(view) / temperature).log_softmax(1)
        tail = logq.scatter(1, soft.ids_NK, -torch.inf).logsumexp(1)
        kept = soft.logp_NK.exp() * (soft.logp_NK - logq.gather(1, soft.ids_NK))
        bucket = soft.log_tail_N.exp() * (soft.log_tail_N - tail)
        return (kept.sum(1) + bucket) * temperature**2

    def mean(values_N, view):
        return values_N.sum() / counts[Per.token_of(view)]

    reference, hypothesis = View.REFERENCE, View.HYPOTHESIS
    match config:
        case CrossEntropyConfig(label_smoothing=smoothing):
            return mean(ce(reference, smoothing), reference)
        case SentenceLevelConfig(label_smoothing=smoothing, with_reference=both):
            first = mean(ce(hypothesis, smoothing), hypothesis)
            return (first + mean(ce(reference, smoothing), reference)) / 2 if both else first
        case TokenLevelConfig(alpha=alpha, temperature=temperature, prefix=view):
            ce = ce(view, config.label_smoothing)
            return mean((1 - alpha) * ce + alpha * kl(view, temperature), view)
        case HybridConfig(layout=layout, temperature=temperature, gate=gate):
            view = reference if layout == "two_pass" else hypothesis
            stabiliser = gate.stabiliser if isinstance(gate, SentenceGateConfig) else "fixed"
            g_B = dense_gate(method, memory, batch)
            mixing = g_B if stabiliser in LEARNED else g_B.detach()
            kl, ce = kl(view, temperature), ce(hypothesis, 0.0)
            rows, hyp_rows = batch.targets[view].sentence_N, batch.targets[hypothesis].sentence_N
            mixed = mean(mixing[rows] * kl, view) + mean((1 - mixing[hyp_rows]) * ce, hypothesis)
            if stabiliser == "prior":
                odds = g_B * (2 * g_B).log() + (1 - g_B) * (2 - 2 * g_B).log()  # initial is 1/2
                mixed = mixed + gate.strength * odds.sum() / counts[Per.SENTENCE]
            if stabiliser == "centred":
                means = [
                    torch.stack([values[where == b].mean() for b in range(len(g_B))]).detach()
                    for values, where in ((kl, rows), (ce, hyp_rows))
                ]
                pull = (means[0] - 0.7) - (means[1] - 2.1)  # the means that `build` sets
                mixed = mixed + ((g_B - g_B.detach()) * pull).sum() / counts[Per.SENTENCE]
            return mixed


def dense_gate(method, memory, batch):
    if not list(method.gate.parameters()):
        return torch.full((memory.size(0),), method.gate.value, dtype=memory.dtype)
    states = [s[m].mean(0) for s, m in zip(memory.detach(), batch.src_mask_BS, strict=True)]
    return torch.sigmoid(method.gate.score(torch.stack(states))).squeeze(1)


def test_loss_and_gradient_are_those_of_the_formula(raw_method, task):
    method, student, counts = build(raw_method), model(1), task.counts()
    batch = task.batch(method)
    value = objective(method, student, batch, counts)
    expected = dense_objective(parse(raw_method), method, student, batch, counts)
    torch.testing.assert_close(value, expected, **EXACT)
    torch.testing.assert_close(
        gradients(value, student, method), gradients(expected, student, method), **EXACT
    )


def test_padding_changes_nothing(raw_method, task):
    method, student, counts = build(raw_method), model(1), task.counts()
    batch = task.batch(method)
    value = objective(method, student, batch, counts)
    padded = objective(method, student, padded_further(batch, src=3, tgt=4), counts)
    torch.testing.assert_close(padded, value, **EXACT)
    torch.testing.assert_close(
        gradients(padded, student, method), gradients(value, student, method), **EXACT
    )


@pytest.mark.parametrize("parts", [[[0, 1, 2], [3, 4, 5]], [[i] for i in range(PAIRS)]], ids=len)
def test_micro_batches_sum_to_the_batch(raw_method, task, parts):
    """Alone, a sentence has no padding: so a longer neighbour changes nothing either."""
    method, student, counts = build(raw_method), model(1), task.counts()
    value = objective(method, student, task.batch(method), counts)
    summed = sum(objective(method, student, task.batch(method, rows), counts) for rows in parts)
    torch.testing.assert_close(summed, value, **EXACT)
    torch.testing.assert_close(
        gradients(summed, student, method), gradients(value, student, method), **EXACT
    )


def test_parts_add_up_over_micro_batches(raw_method, task):
    method, student = build(raw_method), model(1)
    whole = method(student, task.batch(method)).parts
    halves = [method(student, task.batch(method, rows)).parts for rows in ([0, 1], [2, 3, 4, 5])]
    for name, (total, per) in whole.items():
        assert not total.requires_grad
        assert {half[name][1] for half in halves} == {per}
        torch.testing.assert_close(sum(half[name][0] for half in halves), total, **EXACT)


def test_needs_are_what_the_method_reads(raw_method):
    method, needs = build(raw_method), parse(raw_method).needs()
    read = {Signal.HYPOTHESES} if View.HYPOTHESIS in method.views else set()
    if method.soft_view is View.REFERENCE:
        read.add(Signal.REFERENCE_DISTRIBUTIONS)
    if method.soft_view is View.HYPOTHESIS:
        read.add(Signal.HYPOTHESIS_DISTRIBUTIONS)
    assert needs == read
    assert method.soft_view is None or method.soft_view in method.views


def test_views_that_are_not_declared_are_not_read(raw_method, task):
    """`batch` holds the declared views alone; a method that read another would fail."""
    method = build(raw_method)
    batch = task.batch(method)
    assert set(batch.targets) == set(method.views)
    assert {v for v, t in batch.targets.items() if t.soft is not None} <= {method.soft_view}
    assert objective(method, model(1), batch, task.counts()).isfinite()


def test_the_teacher_gets_no_gradient(raw_method, task):
    method, student = build(raw_method), model(1)
    batch = task.batch(method)
    view, leaves = method.soft_view, []
    if view is not None:
        soft = batch.targets[view].soft
        leaves = [soft.logp_NK.clone().requires_grad_(), soft.log_tail_N.clone().requires_grad_()]
        soft = replace(soft, logp_NK=leaves[0], log_tail_N=leaves[1])
        target = replace(batch.targets[view], soft=soft)
        batch = replace(batch, targets={**batch.targets, view: target})
    objective(method, student, batch, task.counts()).backward()
    assert all(leaf.grad is None for leaf in leaves)
    assert all(parameter.grad is None for parameter in task.teacher.parameters())
    assert student.output_weight.grad is not None


def test_single_precision_stays_near_double(raw_method, task):
    method, student, counts = build(raw_method), model(1), task.counts()
    value = float(objective(method, student, task.batch(method), counts).detach())
    method, student = method.float(), student.float()
    batch = replace_soft_dtype(task.batch(method), torch.float32)
    assert math.isclose(
        value, float(objective(method, student, batch, counts).detach()), rel_tol=1e-5
    )


def replace_soft_dtype(batch, dtype):
    targets = {}
    for view, target in batch.targets.items():
        soft = target.soft
        if soft is not None:
            soft = replace(
                soft, logp_NK=soft.logp_NK.to(dtype), log_tail_N=soft.log_tail_N.to(dtype)
            )
        targets[view] = replace(target, soft=soft)
    return replace(batch, targets=targets)


def test_training_lowers_the_loss(raw_method):
    task = Task.random(dtype=torch.float32)
    method, student = build(raw_method, dtype=torch.float32), model(1, dtype=torch.float32)
    batch, counts = task.batch(method), task.counts()
    optimizer = torch.optim.Adam([*student.parameters(), *method.parameters()], lr=3e-3)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = objective(method, student, batch, counts)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
