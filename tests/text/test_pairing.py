"""Two sides of a join prove that they belong together, by hashes of what they were made of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.errors import DataError
from kdray.text import pairing
from kdray.text.pairing import check_pairs, pair_hashes, source_hashes
from kdray.text.sequences import Sequences

ids = st.lists(st.integers(0, 70_000), max_size=6)
rows = st.lists(st.tuples(st.text(max_size=3), ids), max_size=6)


def hashes(pairs):
    texts, targets = [text for text, _ in pairs], [target for _, target in pairs]
    return pair_hashes(source_hashes(texts), Sequences.from_lists(targets)).tolist()


@pytest.mark.slow
@given(rows)
def test_pairs_have_equal_hashes_if_and_only_if_they_are_equal(pairs):
    found = hashes(pairs)
    for i, one in enumerate(pairs):
        for j, other in enumerate(pairs):
            assert (found[i] == found[j]) == (one == other)


def test_known_values():
    """Others would make every stored join wrong."""
    assert source_hashes(["", "ein Hund"]).tolist() == [-5426141060434712860, 4716623238338810633]
    assert hashes([("ein Hund", [5, 6, 3])]) == [2148464715189233918]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int64])
@given(rows=rows)
def test_a_row_has_the_same_hash_wherever_it_stands(dtype, rows):
    rows = [(text, [i % 60_000 for i in ids]) for text, ids in rows]
    targets = Sequences.from_lists([ids for _, ids in rows])
    stored = Sequences(targets.values.astype(dtype), targets.offsets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairing, "ROWS_AT_A_TIME", 2)
        found = pair_hashes(source_hashes(text for text, _ in rows), stored)
    assert found.tolist() == [hashes([row])[0] for row in rows]


def test_a_wrong_pair_is_named():
    pair_ids, good = np.array([7, 8, 9]), source_hashes("abc")
    check_pairs(good, good.copy(), pair_ids, what="here")
    with pytest.raises(DataError) as caught:
        check_pairs(source_hashes("acb"), good, pair_ids, what="here")
    assert str(caught.value) == (
        "here: 2 of 3 rows were made of another pair than the one that their pair_id names, "
        "first 8; remove it and run again"
    )
