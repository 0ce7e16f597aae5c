"""What moves with the updates: t of taid, Φ of annealing, the weights of features."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from method_examples import parse
from toy_distillation import Trial
from toy_teacher import model

from kdray.methods.base import Clock
from kdray.methods.build import build_method
from kdray.methods.layers import layer_map


def new(raw):
    return build_method(parse(raw), student=model(1))


def taid(**numbers):
    return new({"kind": "taid", "rate": 0.1, "momentum": 0.9, **numbers})


def updates(method, losses, *, first=1, of=100):
    found = []
    for step, loss in enumerate(losses, first):
        method.begin(Clock(step, of))
        found.append(method.after_update({"loss/interpolated": loss}, {})["taid/t"])
    return found


@pytest.mark.slow
@given(st.lists(st.floats(0.1, 9.0), min_size=1, max_size=30), st.floats(0, 0.99))
def test_t_is_that_of_the_paper(losses, momentum):
    """δ = (J' − J)/J', m by momentum, t the larger of a line and of t + rate·σ(m)·(1 − t)."""
    t, m, before, wanted = 0.4, 0.0, None, []
    for i, loss in enumerate(losses):
        wanted.append(t)
        if before is not None:
            m = momentum * m + (1 - momentum) * (before - loss) / before
            t = min(1.0, max(0.4 + 0.6 * i / 100, t + 0.1 / (1 + math.exp(-m)) * (1 - t)))
        before = loss
    assert updates(taid(momentum=momentum), losses) == pytest.approx(wanted)


@pytest.mark.slow
@given(st.lists(st.floats(0.1, 9.0), min_size=100, max_size=100))
def test_t_never_goes_back_and_keeps_above_its_line(losses):
    found = updates(taid(rate=0.01), losses)
    assert found == sorted(found)
    assert all(t >= 0.4 + 0.6 * (step - 1) / 100 - 1e-9 for step, t in enumerate(found) if step)
    assert found[-1] <= 1.0


def test_t_goes_faster_while_the_loss_falls():
    falling = updates(taid(momentum=0.0), [8, 4, 2, 1])
    rising = updates(taid(momentum=0.0), [1, 2, 4, 8])
    assert falling[-1] > rising[-1] > 0.4


def test_t_and_its_momentum_are_saved():
    one, other = taid(), taid()
    updates(one, [5, 4])
    other.load_state_dict(one.state_dict())
    assert updates(one, [3, 3], first=3) == updates(other, [3, 3], first=3)


@pytest.mark.parametrize(("most", "of"), [(10, 100), (4, 12), (1, 5), (10, 7)])
def test_annealing_rises_to_the_whole_teacher_in_equal_steps(most, of):
    method, found = new({"kind": "annealing", "max_temperature": most}), []
    for step in range(1, of + 1):
        method.begin(Clock(step, of))
        found.append(method.after_update({}, {})["annealing/factor"])
    assert found == sorted(found)
    assert found[0] == pytest.approx(1 / most)
    if of >= most:
        assert found[-1] == 1
    if of % most == 0:
        values = sorted(set(found))
        assert values == pytest.approx([i / most for i in range(1, most + 1)])
        assert {found.count(value) for value in values} == {of // most}


def test_features_weigh_less_each_epoch():
    raw = {"kind": "feature", "decay": 0.5, "signal": "online"}
    trial = Trial.of(raw)
    batch, values = trial.batch(), []
    for epoch in (0, 1, 2):
        trial.method.begin(Clock(1, 100, epoch))
        values.append(float(trial.objective(batch).detach()))
    assert values[0] - values[1] == pytest.approx(2 * (values[1] - values[2]))
    assert values[0] > values[1]


@given(st.integers(1, 12), st.integers(1, 12))
def test_the_last_layer_learns_the_last_and_no_order_is_changed(student, teacher):
    found = layer_map(student, teacher)
    assert len(found) == student
    assert found[-1] == teacher - 1
    assert list(found) == sorted(found)
    assert all(0 <= layer < teacher for layer in found)
    if teacher % student == 0:
        assert [layer + 1 for layer in found] == [
            (i + 1) * teacher // student for i in range(student)
        ]
