"""Where methods meet: at the ends of g and α one is another, to the last bit."""

import pytest
import torch
from toy_distillation import Task, build, gradients, model, objective

CASES = [(layout, t) for layout in ("two_pass", "one_pass") for t in (1.0, 2.0)]


@pytest.fixture(scope="module")
def single_task():
    return Task.random(dtype=torch.float32)


def value_and_gradients(raw, task):
    method, student = build(raw, dtype=torch.float32), model(1, dtype=torch.float32)
    value = objective(method, student, task.batch(method), task.counts())
    return value, gradients(value, student)


def assert_same_bits(raw, other, task):
    value, grads = value_and_gradients(raw, task)
    expected, expected_grads = value_and_gradients(other, task)
    assert torch.equal(value, expected)
    assert [name for name in grads if not torch.equal(grads[name], expected_grads[name])] == []
    assert any(grad.abs().max() > 0 for grad in grads.values())


def hybrid(layout, g, temperature):
    gate = {"kind": "fixed", "value": g}
    return {"kind": "hybrid", "layout": layout, "gate": gate, "temperature": temperature}


@pytest.mark.parametrize(("layout", "temperature"), CASES)
def test_gate_of_one_is_token_level(single_task, layout, temperature):
    prefix = "reference" if layout == "two_pass" else "hypothesis"
    token = {"kind": "token_level", "alpha": 1, "temperature": temperature, "prefix": prefix}
    assert_same_bits(hybrid(layout, 1.0, temperature), token, single_task)


@pytest.mark.parametrize(("layout", "temperature"), CASES)
def test_gate_of_zero_is_sentence_level(single_task, layout, temperature):
    assert_same_bits(hybrid(layout, 0.0, temperature), {"kind": "sentence_level"}, single_task)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_alpha_of_zero_is_the_baseline(single_task, temperature):
    token = {"kind": "token_level", "alpha": 0, "temperature": temperature}
    assert_same_bits(token, {"kind": "cross_entropy"}, single_task)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize(
    "raw",
    [
        {"kind": "token_level", "alpha": 1},
        *(hybrid(layout, 1.0, 1.0) for layout in ("two_pass", "one_pass")),
    ],
)  # fmt: skip
def test_a_student_equal_to_its_teacher_has_nothing_to_learn(raw, temperature):
    task = Task.random()
    method = build({**raw, "temperature": temperature})
    value = objective(method, task.teacher, task.batch(method), task.counts())
    assert abs(float(value.detach())) < 1e-12
    for grad in gradients(value, task.teacher).values():
        assert grad.abs().max() < 1e-12
