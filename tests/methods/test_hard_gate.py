"""Hard-Gate distillation: the teacher only where the student is surer of the reference."""

import math
from dataclasses import replace

import pytest
import torch
from dense_batch import Dense
from method_examples import parse
from toy_distillation import Trial

from kdray.methods.hard_gate import HardGate
from kdray.schema import View

REFERENCE = View.REFERENCE


def with_label_confidence(trial, log_label):
    """The batch, with a teacher that gives each reference token the given log-probability."""
    batch = trial.batch()
    target = batch.targets[REFERENCE]
    said = torch.full_like(target.teacher.log_label_N, log_label)
    target = replace(target, teacher=replace(target.teacher, log_label_N=said))
    return replace(batch, targets={REFERENCE: target})


@pytest.mark.parametrize("per", ["token", "sentence"])
def test_a_teacher_that_is_always_surer_is_never_learned(per):
    raw = {"kind": "hard_gate", "per": per, "label_smoothing": 0.1, "signal": "topk"}
    trial = Trial.of(raw)
    plain = Trial.of({"kind": "cross_entropy"}).everything()
    torch.testing.assert_close(trial.everything(with_label_confidence(trial, 0.0)), plain)


@pytest.mark.parametrize("per", ["token", "sentence"])
def test_a_teacher_that_is_never_surer_is_learned_alone(per):
    trial = Trial.of({"kind": "hard_gate", "per": per, "signal": "topk"})
    batch = with_label_confidence(trial, -1e4)
    value = Dense(trial, batch).kl(REFERENCE, 1.5, one_sided=True).mean()
    torch.testing.assert_close(
        trial.everything(batch), {"value": value.detach(), **trial.gradients(value)}
    )


def test_the_temperature_is_the_teachers_alone():
    """With a student equal to a cold teacher, a warm one still has something to teach."""
    trial = Trial.of({"kind": "hard_gate", "temperature": 1.0, "signal": "topk"})
    warm = Trial.of({"kind": "hard_gate", "temperature": 4.0, "signal": "topk"})
    batches = [with_label_confidence(each, -1e4) for each in (trial, warm)]
    values = [t.objective(b).item() for t, b in zip((trial, warm), batches, strict=True)]
    q = Dense(warm, batches[1]).student(REFERENCE).softmax(1)
    p = (Dense(warm, batches[1]).teacher(REFERENCE) / 4).softmax(1)
    upper = (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(1).mean().item()
    assert 0 < values[1] <= upper + 1e-12, "a bucket takes away, and T squared is not there"
    assert not math.isclose(values[0], values[1], rel_tol=0.01)


def test_equal_confidence_is_the_references():
    """The gate asks for more, not for as much; and a mean of equal values must not round."""
    trial = Trial.of({"kind": "hard_gate", "signal": "topk", "label_smoothing": 0.1})
    batch = trial.batch()
    same = Dense(trial, batch)
    log_q = same.log_label(same.student, REFERENCE, 1.0).detach()
    target = batch.targets[REFERENCE]
    teacher = replace(target.teacher, log_label_N=log_q + 1e-9)
    batch = replace(batch, targets={REFERENCE: replace(target, teacher=teacher)})
    for per in ("token", "sentence"):
        method = HardGate(parse({"kind": "hard_gate", "per": per}), trial.student)
        assert float(method(trial.student, batch).parts["gate/mean"][0]) == 0


def test_the_logged_gate_is_the_share_of_the_teacher():
    trial = Trial.of({"kind": "hard_gate", "signal": "hidden"})
    dense = Dense(trial, trial.batch())
    surer = dense.log_label(dense.student, REFERENCE, 1.0) > dense.log_label(
        dense.teacher, REFERENCE, 1.5
    )
    found = trial.method(trial.student, trial.batch()).parts["gate/mean"][0]
    assert 0 < float(found) == int(surer.sum()) < len(surer)
