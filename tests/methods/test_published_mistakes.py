"""One test for each mistake that published distillation code is known to have made."""

import math
from dataclasses import replace

import pytest
import torch
from dense_batch import Dense
from dense_divergences import head_share, kl
from measured_losses import NAMES, measured_losses, pair, slope_in_logits
from toy_distillation import Trial
from toy_teacher import soft_targets

from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.methods.measures import measure_of
from kdray.methods.targets import DenseTargets, Member
from kdray.model.transformer import Taps
from kdray.schema import View


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def value_and_gradient(measure, p, logits):
    """Of D(p ‖ softmax(logits)) in the logits."""
    found = measure(pair(p.log(), logits.log_softmax(1)))
    return found.value, slope_in_logits(found, logits.softmax(1))


def test_log_probabilities_are_mixed_in_jensen_shannon():
    """m = β·p + (1−β)·q. With a mixture of logs, the geometric one, D would pass its bound."""
    p, logits = normal(5, 6, seed=1).softmax(1), 4 * normal(5, 6, seed=2)
    beta = 0.3
    q = logits.softmax(1).requires_grad_()
    m = beta * p + (1 - beta) * q
    wanted = beta * (p * (p / m).log()).sum(1) + (1 - beta) * (q * (q / m).log()).sum(1)
    value, gradient = value_and_gradient(measure_of("jensen_shannon", beta=beta), p, logits)
    torch.testing.assert_close(value, wanted.detach())
    (by_q,) = torch.autograd.grad(wanted.sum(), q)
    q = q.detach()
    torch.testing.assert_close(gradient, q * (by_q - (q * by_q).sum(1, keepdim=True)))
    geometric = (beta * p.log() + (1 - beta) * q.log()).exp()
    mistaken = beta * kl(p, geometric) + (1 - beta) * kl(q, geometric)
    assert (mistaken - value).abs().min() > 1e-3
    entropy_of_beta = -beta * math.log(beta) - (1 - beta) * math.log(1 - beta)
    assert (value <= entropy_of_beta).all(), "the bound of a Jensen-Shannon divergence"


def test_the_weights_of_jensen_shannon_are_swapped():
    """β → 0 is the forward KL, β → 1 the reverse one, each over its small weight."""
    p, logits = normal(5, 6, seed=1).softmax(1), normal(5, 6, seed=2)
    small = 1e-6
    for beta, limit in ((small, "forward"), (1 - small, "reverse")):
        found = value_and_gradient(measure_of("jensen_shannon", beta=beta), p, logits)
        wanted = value_and_gradient(measure_of(limit), p, logits)
        for ours, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours / small, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_lambda_of_on_policy_is_inverted():
    """λ = 0 learns stored data alone; λ = 1 the student's own sequences alone."""
    raw = {"kind": "on_policy", "divergence": "forward", "signal": "online"}
    data = Trial.of({**raw, "student_share": 0.0})
    dense = Dense(data, data.batch()).kl(View.REFERENCE).mean()
    wanted = {"value": dense.detach(), **data.gradients(dense)}
    torch.testing.assert_close(data.everything(), wanted)

    own = Trial.of({**raw, "student_share": 1.0})
    dense = Dense(own, own.batch()).kl(View.STUDENT).mean()
    wanted = {"value": dense.detach(), **own.gradients(dense)}
    torch.testing.assert_close(own.everything(), wanted)

    little = Trial.of({**raw, "student_share": 0.1}, written=own.written)
    expected = {
        name: 0.9 * value + 0.1 * own.everything()[name]
        for name, value in data.everything().items()
    }
    torch.testing.assert_close(little.everything(), expected)


def test_a_sorted_mask_is_applied_to_unsorted_values_in_adaptive_kl():
    """The head is of tokens and not of places: to renumber the vocabulary changes nothing."""
    p, logits = normal(8, 9, seed=1).mul(2).softmax(1), normal(8, 9, seed=2)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(3))
    measure = measure_of("adaptive", head=0.6)
    value, gradient = value_and_gradient(measure, p, logits)
    renumbered = value_and_gradient(measure, p[:, order], logits[:, order])
    torch.testing.assert_close(renumbered, (value, gradient[:, order]))
    q = logits.softmax(1)
    for row in range(8):
        in_head = head_share(p[row], q[row], 0.6)
        ours, theirs = p[row : row + 1], q[row : row + 1]
        mixed = in_head * kl(ours, theirs) + (1 - in_head) * kl(theirs, ours)
        assert float(value[row]) == pytest.approx(float(mixed))
    # By hand: of (0.1, 0.7, 0.2) the head is the second token, and the gaps are 0.3, 0.2, 0.1.
    p = torch.tensor([[0.1, 0.7, 0.2]], dtype=torch.float64)
    q = torch.tensor([[0.4, 0.5, 0.1]], dtype=torch.float64)
    share = 0.2 / 0.6
    wanted = share * kl(p, q) + (1 - share) * kl(q, p)
    found = measure_of("adaptive")(pair(p.log(), q.log())).value
    assert float(found) == pytest.approx(float(wanted))


@pytest.mark.parametrize("name", NAMES)
def test_the_teacher_is_normalised_over_the_top_k_and_the_student_over_all(name):
    """Then a student equal to its teacher would still be pulled: its head grows to 1/Σ_K p."""
    weight = normal(9, 4, seed=1)
    hidden = normal(6, 4, seed=2).requires_grad_()
    logits = (hidden @ weight.T).detach()
    teacher = soft_targets(logits, k=3)
    assert teacher.logp_NK.exp().sum(1).max() < 0.99
    total = measured_losses(
        hidden,
        weight,
        measure_of(name),
        teacher=teacher,
        labels_N=torch.zeros(6, dtype=torch.long),
    ).total
    assert abs(total.item()) < 1e-12
    assert torch.autograd.grad(total, hidden)[0].abs().max() < 1e-12
    mistaken = teacher.logp_NK.log_softmax(1)
    student = (hidden @ weight.T).log_softmax(1).gather(1, teacher.ids_NK)
    pulled = torch.autograd.grad((mistaken.exp() * (mistaken - student)).sum(), hidden)[0]
    assert pulled.abs().max() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("form", ["topk", "hidden"])
def test_nan_on_an_empty_mask(form):
    """No token selected, none gated to the teacher: the rest of the loss stays what it is."""
    selective = Trial.of({"kind": "selective", "queue": 5, "label_smoothing": 0.0, "signal": form})
    selective.method.values.fill_(1e9)  # nothing is harder than that
    hard_gate = Trial.of({"kind": "hard_gate", "signal": form})
    plain = Trial.of({"kind": "cross_entropy", "label_smoothing": 0.0}).everything()
    found = selective.everything()
    torch.testing.assert_close(found, plain)
    parts = selective.method(selective.student, selective.batch()).parts
    assert float(parts["selected/share"][0]) == float(parts["loss/selected"][0]) == 0
    batch = hard_gate.batch()
    target = batch.targets[View.REFERENCE]
    if form == "topk":
        sure = replace(target.teacher, log_label_N=torch.zeros(34, dtype=torch.float64))
        batch = replace(batch, targets={View.REFERENCE: replace(target, teacher=sure)})
        torch.testing.assert_close(hard_gate.everything(batch), plain)
    none = token_losses(normal(0, 3, seed=1), normal(5, 3, seed=2))
    assert none.total == 0


WEIGHTED = {
    "token_level": ({"kind": "token_level", "signal": "topk"}, "alpha"),
    "divergence": ({"kind": "divergence", "divergence": "reverse", "signal": "topk"}, "alpha"),
    "tie": ({"kind": "tie", "signal": "online"}, "alpha"),
    "feature": ({"kind": "feature", "signal": "online"}, "alpha"),
    "feature_hidden": ({"kind": "feature", "signal": "online"}, "hidden_weight"),
    "feature_attention": ({"kind": "feature", "signal": "online"}, "attention_weight"),
    "on_policy": ({"kind": "on_policy", "signal": "online"}, "student_share"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WEIGHTED)
def test_a_weight_is_in_the_log_and_not_in_the_gradient(name):
    """The gradient at a third is a third of the way between both ends. So is the value."""
    raw, knob = WEIGHTED[name]
    written = Trial.of({**raw, knob: 1.0}).written
    low, third, high = (
        Trial.of({**raw, knob: weight}, written=written).everything()
        for weight in (0.0, 1 / 3, 1.0)
    )
    shared = low.keys() & third.keys()  # without a weight, features have no projections
    for which in shared:
        torch.testing.assert_close(third[which], low[which] * 2 / 3 + high[which] / 3)
    assert any((low[which] - high[which]).abs().max() > 1e-3 for which in shared)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["two_pass", "one_pass"])
def test_the_gate_is_in_the_log_and_not_in_the_gradient(layout):
    def found(g):
        gate = {"kind": "fixed", "value": g}
        return Trial.of({"kind": "hybrid", "layout": layout, "gate": gate, "signal": "topk"})

    low, third, high = (found(g).everything() for g in (0.0, 1 / 3, 1.0))
    for which, value in third.items():
        torch.testing.assert_close(value, low[which] * 2 / 3 + high[which] / 3)


@pytest.mark.parametrize("name", [*NAMES, "kernel"])
def test_the_mean_is_taken_over_the_vocabulary(name):
    """Tokens that neither model ever uses change nothing; a mean over V would shrink the loss."""
    p, logits = normal(4, 5, seed=1), normal(4, 5, seed=2)
    unused = torch.full((4, 45), -700.0, dtype=torch.float64)

    def found(p, logits):
        hidden = logits.clone().requires_grad_()
        eye = torch.eye(p.size(1), dtype=torch.float64)
        teacher = DenseTargets((Member(p, eye),))
        if name == "kernel":
            labels = torch.arange(4)
            total = token_losses(hidden, eye, labels_N=labels, soft=soft_loss(teacher)).total
        else:
            labels = torch.zeros(4, dtype=torch.long)
            total = measured_losses(
                hidden, eye, measure_of(name), teacher=teacher, labels_N=labels
            ).total
        return total.detach(), torch.autograd.grad(total, hidden)[0][:, :5]

    few = found(p, logits)
    many = found(torch.cat((p, unused), 1), torch.cat((logits, unused), 1))
    torch.testing.assert_close(many, few)


@pytest.mark.slow
def test_the_mean_is_taken_over_the_features_and_over_no_token_that_is_padding():
    """Of states a mean over features is the definition; over positions it is a mean of real ones.

    An earlier mistake of the same kind: a KL between attention maps averaged over all keys.
    """
    raw = {"kind": "feature", "alpha": 1.0, "hidden_weight": 0, "signal": "online"}
    one, two = (Trial.of({**raw, "attention_weight": weight}) for weight in (1.0, 2.0))
    (each,) = one.teacher.models
    parts = one.method(one.student, one.batch()).parts
    name = "loss/encoder_attention"
    ours, theirs = Taps(), Taps()
    total = 0.0
    for row in range(6):  # alone, a source has no padding
        batch = one.batch([row])
        for model, taps in ((one.student, ours), (each, theirs)):
            model.encode(batch.src_BS, batch.src_mask_BS, taps=taps)
        p, q = theirs.encoder_maps[-1][0], ours.encoder_maps[-1][0]
        total += kl(p, q).mean().item()
    assert float(parts[name][0]) == pytest.approx(total)
    assert float(two.method(two.student, two.batch()).parts[name][0]) == pytest.approx(total)
