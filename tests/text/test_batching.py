"""Batches hold every pair once, keep to their budget, and depend only on seed and epoch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.text.batching import BatchPlan, cuts

LENGTHS = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=60)
BUDGET = st.integers(1, 80)


def plan_of(lengths, *, budget, seed=1):
    src, tgt = np.array(lengths, dtype=np.int64).T
    return BatchPlan(src_lengths=src, tgt_lengths=tgt, tokens_per_update=budget, seed=seed)


def as_lists(batches):
    return [batch.tolist() for batch in batches]


@pytest.mark.slow
@given(LENGTHS, BUDGET, st.integers(0, 5))
def test_each_pair_is_in_exactly_one_batch(lengths, budget, epoch):
    batches = plan_of(lengths, budget=budget).epoch(epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(len(batch) for batch in batches)


@pytest.mark.slow
@given(LENGTHS, BUDGET, st.integers(0, 5))
def test_no_batch_exceeds_the_budget_unless_one_pair_does(lengths, budget, epoch):
    for batch in plan_of(lengths, budget=budget).epoch(epoch):
        total = sum(lengths[row][1] for row in batch)
        assert total <= budget or len(batch) == 1


@pytest.mark.slow
@given(LENGTHS, BUDGET)
def test_every_epoch_has_the_same_number_of_batches(lengths, budget):
    plan = plan_of(lengths, budget=budget)
    assert {len(plan.epoch(epoch)) for epoch in range(5)} == {plan.batches_per_epoch()}


@pytest.mark.slow
@given(LENGTHS, BUDGET, st.integers(0, 3), st.integers(0, 3))
def test_order_is_a_pure_function_of_seed_and_epoch(lengths, budget, seed, epoch):
    first, second = (plan_of(lengths, budget=budget, seed=seed) for _ in range(2))
    second.epoch(epoch + 1)  # other epochs that were asked for before change nothing
    assert as_lists(first.epoch(epoch)) == as_lists(second.epoch(epoch))


def test_other_seeds_and_epochs_have_other_orders_and_other_batches():
    lengths = [(n % 7 + 1, n % 5 + 1) for n in range(80)]
    orders = [
        as_lists(plan_of(lengths, budget=20, seed=seed).epoch(epoch))
        for seed in range(3)
        for epoch in range(3)
    ]
    members = [frozenset(frozenset(batch) for batch in order) for order in orders]
    assert len({tuple(map(tuple, order)) for order in orders}) == 9
    assert len(set(members)) == 9  # ties of length are decided anew each time


def test_batches_hold_pairs_of_like_length_and_come_in_no_order_of_length():
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 60, size=(400, 2)).tolist()
    batches = plan_of(lengths, budget=200).epoch(0)
    spreads = [np.ptp([lengths[row][1] for row in batch]) for batch in batches]
    assert max(spreads) <= 15  # a whole epoch spreads over 58
    means = [np.mean([lengths[row][1] for row in batch]) for batch in batches]
    assert means != sorted(means)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), BUDGET)
def test_cuts_are_the_greedy_ones(lengths, most):
    parts = np.split(np.array(lengths), cuts(np.array(lengths), most=most))
    assert np.concatenate(parts).tolist() == lengths
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        assert part.sum() <= most or len(part) == 1
        if following is not None:  # nothing more would have fitted
            assert part.sum() + following[0] > most


@pytest.mark.parametrize(
    ("lengths", "most", "expected"),
    [
        ([], 5, []),
        ([9], 5, []),
        ([2, 3, 1], 5, [2]),
        ([5, 5, 5], 5, [1, 2]),
        ([9, 9], 5, [1]),
        ([1, 9, 1], 5, [1, 2]),
    ],
)
def test_cuts_at_the_edges(lengths, most, expected):
    assert cuts(np.array(lengths, dtype=np.int64), most=most) == expected
