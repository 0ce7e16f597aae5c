"""Repetitions are found exactly, whatever blocks they come in and whatever their digests are."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.text.duplicates import Repeats, Seen, ranks_among

pytestmark = pytest.mark.slow

NUMBER = st.sampled_from([0, 1, 2, 2**63, 2**64 - 1])  # few, so that first numbers meet
BLOCKS = st.lists(st.lists(st.tuples(NUMBER, NUMBER), max_size=9), max_size=7)


def as_digests(rows):
    return np.array(rows, dtype=np.uint64).reshape(-1, 2)


def expected(rows):
    seen, ranks = Counter(), []
    for row in rows:
        ranks.append(seen[row])
        seen[row] += 1
    return ranks


@given(BLOCKS)
def test_all_ways_agree_with_counting(blocks):
    rows = [row for block in blocks for row in block]
    want = expected(rows)
    seen, repeats = Seen(), Repeats()
    found = [rank for block in blocks for rank in seen.ranks(as_digests(block)).tolist()]
    counted = [rank for block in blocks for rank in repeats.ranks(as_digests(block)).tolist()]
    assert ranks_among(as_digests(rows)).tolist() == counted == want
    assert found == [min(rank, 1) for rank in want]
