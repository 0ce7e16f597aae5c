"""Where methods meet: at the ends of g and α one is another, to the last bit."""

import pytest
import torch
from method_examples import ALL_METHODS
from toy_distillation import Trial
from toy_teacher import model

from kdray.teacher.own import OnlineModels

FORMS = ("topk", "hidden")
CASES = [(layout, t) for layout in ("two_pass", "one_pass") for t in (1.0, 2.0)]
LAYOUTS_AT_ONE = [case for case in CASES if case[1] == 1.0]
# Gates that are at their ends everywhere: by their number, their clock, or the entropy they see.
ONE = (
    {"kind": "fixed", "value": 1.0},
    {"kind": "schedule", "start": 1.0, "end": 1.0},
    {"kind": "entropy", "threshold": 0.0},
)
ZERO = (
    {"kind": "fixed", "value": 0.0},
    {"kind": "schedule", "start": 0.0, "end": 0.0, "shape": "cosine"},
    {"kind": "entropy", "threshold": 1.0},
)


def ends(gates):
    """Every layout with every gate; temperatures and forms with the first."""
    rest = [(*LAYOUTS_AT_ONE[i % 2], gate, "topk") for i, gate in enumerate(2 * gates[1:])]
    return [(*case, gates[0], form) for case in CASES for form in FORMS] + rest


def assert_same_bits(raw, other, form):
    own = {"signal": form} if "layout" in raw or raw["kind"] != "cross_entropy" else {}
    single = {"dtype": torch.float32}
    found = Trial.of({**raw, **own}, **single).everything()
    wanted = Trial.of(other, **single).everything()
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name
    assert any(value.abs().max() > 0 for value in wanted.values())


def hybrid(layout, gate, temperature):
    return {"kind": "hybrid", "layout": layout, "gate": gate, "temperature": temperature}


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "temperature", "gate", "form"), ends(ONE))
def test_gate_of_one_is_token_level(layout, temperature, gate, form):
    prefix = "reference" if layout == "two_pass" else "hypothesis"
    token = {"kind": "token_level", "alpha": 1, "temperature": temperature, "prefix": prefix}
    assert_same_bits(hybrid(layout, gate, temperature), {**token, "signal": form}, form)


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "temperature", "gate", "form"), ends(ZERO))
def test_gate_of_zero_is_sentence_level(layout, temperature, gate, form):
    assert_same_bits(hybrid(layout, gate, temperature), {"kind": "sentence_level"}, form)


@pytest.mark.parametrize("form", [*FORMS, "sampled"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_alpha_of_zero_is_the_baseline(temperature, form):
    if form == "sampled" and temperature != 1:
        return
    token = {"kind": "token_level", "alpha": 0, "temperature": temperature}
    assert_same_bits(token, {"kind": "cross_entropy"}, form)


@pytest.mark.parametrize(
    "raw",
    [
        {"kind": "divergence", "divergence": "jensen_shannon", "signal": "topk"},
        {"kind": "tie", "signal": "online"},
        {"kind": "feature", "signal": "online", "hidden_weight": 0, "attention_weight": 0},
    ],
    ids=lambda raw: raw["kind"],
)
def test_alpha_of_zero_is_the_baseline_for_all_that_have_one(raw):
    found = Trial.of({**raw, "alpha": 0}).everything()
    wanted = Trial.of({"kind": "cross_entropy"}).everything()
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-13)


@pytest.mark.slow
def test_forward_divergence_is_token_level():
    numbers = {"alpha": 0.3, "label_smoothing": 0.2, "signal": "topk"}
    found = Trial.of(
        {"kind": "divergence", "divergence": "forward", **numbers}, dtype=torch.float32
    )
    wanted = Trial.of({"kind": "token_level", **numbers}, dtype=torch.float32)
    for name, value in wanted.everything().items():
        assert torch.equal(found.everything()[name], value), name


@pytest.mark.slow
def test_feature_without_features_is_token_level():
    raw = {"kind": "feature", "hidden_weight": 0, "attention_weight": 0, "temperature": 2.0}
    found = Trial.of({**raw, "signal": "online"}, dtype=torch.float32)
    token = {"kind": "token_level", "temperature": 2.0, "signal": "online"}
    wanted = Trial.of(token, dtype=torch.float32)
    assert not list(found.method.parameters())
    for name, value in wanted.everything().items():
        assert torch.equal(found.everything()[name], value), name


# At q = p these are zero. A cross-entropy is not, and |p − q| has a kink there: the last bit of
# rounding decides its gradient (test_divergences.py has it where the bits are the same).
NOTHING_TO_LEARN = [
    *(name for name in ALL_METHODS if name.startswith("divergence_")
      and not any(other in name for other in ("jensen", "forward", "variation"))),
    "token_level_only-topk",
    "imitation_distribution-online",
    "on_policy-online",
    "on_policy_forward-online",
    "on_policy_reverse-online",
]  # fmt: skip
MORE = {
    **{f"jensen_shannon-{form}": {"kind": "divergence", "divergence": "jensen_shannon",
                                  "beta": 0.2, "signal": form} for form in FORMS},
    **{f"forward-{form}": {"kind": "divergence", "divergence": "forward", "signal": form}
       for form in FORMS},
    **{f"{layout}-{t}-{form}": {**hybrid(layout, ONE[0], t), "signal": form}
       for layout, t in CASES for form in FORMS},
    "token_level_warm": {"kind": "token_level", "alpha": 1, "temperature": 2, "signal": "hidden"},
    "tie": {"kind": "tie", "alpha": 1, "signal": "online"},
    "annealing": {"kind": "annealing", "max_temperature": 1, "signal": "hidden"},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NOTHING_TO_LEARN, *MORE])
def test_a_student_equal_to_its_teacher_has_nothing_to_learn(name):
    teacher = model(1)  # the student's seed
    trial = Trial.of({**ALL_METHODS, **MORE}[name], teacher=OnlineModels([teacher]))
    for which, value in trial.everything().items():
        assert value.abs().max() < 1e-12, which


def test_taid_pulls_to_the_teacher_only():
    """Its target is the student itself where they agree: the loss is an entropy, without pull."""
    trial = Trial.of({"kind": "taid", "signal": "hidden"}, teacher=OnlineModels([model(1)]))
    found = trial.everything()
    assert found.pop("value") > 1
    assert all(grad.abs().max() < 1e-12 for grad in found.values())
