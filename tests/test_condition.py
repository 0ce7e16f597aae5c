"""Conditions are told apart by their names, and old recipes keep their identity."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kdray.condition import Condition
from kdray.config.evaluation import EvaluationConfig

CONDITIONS = st.one_of(
    st.builds(Condition.of_beam, st.integers(1, 64)),
    st.builds(Condition.of_prefix, st.floats(0, 1, exclude_min=True)),
    st.just(Condition("sampling")),
)


@given(CONDITIONS)
def test_a_name_stands_for_one_condition(condition):
    assert Condition.named(condition.name) == condition


@pytest.mark.parametrize(
    "name", ["", "beam", "beam-", "beam-0.5", "prefix", "prefix-0", "prefix-1", "prefix-x", "drawn"]
)
def test_other_names_stand_for_none(name):
    with pytest.raises(ValueError, match=r"\S"):
        Condition.named(name)


def test_conditions_come_in_the_order_of_their_difficulty_to_measure():
    config = EvaluationConfig(beams=(1, 4), prefixes=(0.5, 0.25, 1), sampling={})
    names = ["beam-1", "beam-4", "prefix-0.5", "prefix-0.25", "teacher-forcing", "sampling"]
    assert [condition.name for condition in config.conditions] == names
    assert [condition.width for condition in config.conditions][:3] == [1, 4, None]


def test_what_decides_no_translation_is_no_part_of_the_identity():
    scorers = {"mine": {"kind": "command", "command": ["x"], "signature": "x"}}
    plain, more = EvaluationConfig(), EvaluationConfig(bootstrap_samples=200, scorers=scorers)
    assert plain.identity() == more.identity()
    assert plain.identity().keys() == {"beams", "length_penalty", "bleu_tokenize"}
    assert EvaluationConfig(prefixes=(1,)).identity().keys() - plain.identity().keys()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"prefixes": [0]}, "greater than 0"),
        ({"prefixes": [0.5, 0.5]}, "repeat a share"),
        ({"sampling": {"temperature": 0}}, "greater than 0"),
        ({"scorers": {"chrf": {"kind": "command", "command": ["x"], "signature": "x"}}}, "itself"),
        ({"scorers": {"a": {"kind": "command", "command": [], "signature": "x"}}}, "at least 1"),
        ({"scorers": {"a": {"kind": "command", "command": ["x"]}}}, "signature"),
        ({"scorers": {"a": {"kind": "command", "command": ["x"], "signature": "x",
                            "environment": {"HF_TOKEN": "abc"}}}}, "export it before"),
        ({"scorers": {"a": {"kind": "command", "command": ["x", "https://u:p@host"],
                            "signature": "x"}}}, "holds credentials"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(values, told):
    with pytest.raises(ValidationError, match=told) as raised:
        EvaluationConfig.model_validate(values)
    assert "abc" not in str(raised.value.errors()[0]["msg"])
