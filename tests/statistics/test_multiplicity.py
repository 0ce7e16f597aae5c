"""Holm's correction keeps its promise, and leaves out what was not tested."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.statistics.multiplicity import correct, holm


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([]) == ()
    assert holm([0.4]) == (0.4,)


@given(st.lists(st.floats(0.0001, 1), max_size=8))
def test_holm_never_lowers_a_p_keeps_their_order_and_stays_a_probability(p_values):
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    ranked = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert [adjusted[i] for i in ranked] == sorted(adjusted)
    if p_values:
        assert min(adjusted) == pytest.approx(min(1, len(p_values) * min(p_values)))


def test_what_was_not_tested_is_not_counted():
    assert correct({"a": 0.01, "b": None, "c": 0.04}) == {"a": 0.02, "b": None, "c": 0.04}
