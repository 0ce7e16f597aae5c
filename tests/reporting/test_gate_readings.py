"""What the report says of gates follows from the sentences that were read."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.cell import Cell
from kdray.reporting.gates import GateReadings

ROWS = st.lists(
    st.tuples(st.integers(1, 60), st.floats(0, 6), st.floats(0, 1)), min_size=1, max_size=80
)


def readings(rows):
    return GateReadings(
        cell=Cell("hybrid", "nano", 1),
        left_out=0,
        rows=rows,
        mean=math.fsum(row[2] for row in rows) / len(rows),
        sd=0.0,
        correlations={"length": None, "entropy": 0.5},
    )


@pytest.mark.slow
@given(ROWS)
def test_each_sentence_is_in_one_fifth_and_in_one_bin(rows):
    found = readings(rows)
    assert sum(found.histogram) == found.num_sentences == len(rows)
    ranges = [[int(side) for side in name.split("-")] for name in found.by_length]
    edges = [side for each in ranges for side in each]
    assert edges == sorted(edges)
    assert len(ranges) <= 5
    for (low, *high), mean in zip(ranges, found.by_length.values(), strict=True):
        inside = [gate for words, _, gate in rows if low <= words <= (high or [low])[0]]
        assert mean == pytest.approx(math.fsum(inside) / len(inside))
    assert {words for words, *_ in rows} <= {
        words for low, *high in ranges for words in range(low, (high or [low])[0] + 1)
    }


def test_fifths_are_of_equal_size_where_all_lengths_differ():
    found = readings([(words, 1.0, words / 100) for words in range(1, 51)])
    assert list(found.by_length) == ["1-10", "11-20", "21-30", "31-40", "41-50"]


def test_the_data_of_a_report_hold_no_single_sentence():
    told = json.loads(json.dumps(readings([(3, 1.0, 0.25), (3, 2.0, 1.0)]).to_json()))
    assert told["by_length"] == [{"words": "3", "mean": 0.625}]
    assert told["histogram"] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 1]
    assert told["sentences"] == 2
    assert told["method"] == "hybrid"
