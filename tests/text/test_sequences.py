"""Ragged sequences equal the plain lists that they were made from, however they are read."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.errors import DataError
from kdray.text.sequences import Sequences, id_type, read_table, write_table

ROWS = st.lists(st.lists(st.integers(1, 60_000), max_size=6), min_size=1, max_size=8)


@st.composite
def rows_and_choice(draw):
    rows = draw(ROWS)
    chosen = draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
    return rows, np.asarray(chosen, dtype=np.int64)


def as_lists(sequences):
    return [sequences[i].tolist() for i in range(len(sequences))]


@pytest.mark.slow
@given(ROWS)
def test_rows_and_lengths_are_those_of_the_lists(rows):
    sequences = Sequences.from_lists(rows)
    assert as_lists(sequences) == rows
    assert len(sequences) == len(rows)
    assert sequences.lengths.tolist() == [len(row) for row in rows]


@pytest.mark.slow
@given(rows_and_choice())
def test_take_gives_the_rows_in_that_order(case):
    rows, chosen = case
    taken = Sequences.from_lists(rows).take(chosen)
    assert as_lists(taken) == [rows[i] for i in chosen]


@pytest.mark.slow
@given(rows_and_choice())
def test_places_are_where_the_items_stand(case):
    rows, chosen = case
    sequences = Sequences.from_lists(rows)
    items = sequences.values[sequences.places(chosen)].tolist()
    assert items == [item for i in chosen for item in rows[i]]


@pytest.mark.slow
@given(rows_and_choice(), st.integers(-1, 0))
def test_padded_is_the_rows_and_padding(case, pad):
    rows, chosen = case
    padded = Sequences.from_lists(rows).padded(chosen, pad=pad)
    longest = max((len(rows[i]) for i in chosen), default=0)
    assert padded.dtype == np.int64
    assert padded.shape == (len(chosen), longest)
    assert padded.tolist() == [rows[i] + [pad] * (longest - len(rows[i])) for i in chosen]


@pytest.mark.slow
@given(ROWS, st.integers(1, 3))
def test_chunks_and_slices_of_a_column_are_read_whole(rows, size):
    array = pa.array(rows, pa.list_(pa.uint16()))
    column = pa.chunked_array([array[i : i + size] for i in range(0, len(rows), size)])
    assert as_lists(Sequences.from_column(column)) == rows
    assert as_lists(Sequences.from_column(column.slice(1))) == rows[1:]


@pytest.mark.parametrize("chunks", [[], [[]]])
def test_a_column_of_no_rows(chunks):
    sequences = Sequences.from_column(pa.chunked_array(chunks, pa.list_(pa.uint16())))
    assert len(sequences) == 0
    assert sequences.padded(np.zeros(0, dtype=np.int64), pad=0).shape == (0, 0)


@pytest.mark.slow
@given(ROWS)
def test_a_table_comes_back_from_its_file(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("table") / "ids.arrow"
    array = pa.chunked_array([[row] for row in rows], pa.list_(pa.uint16()))
    write_table(path, pa.table({"ids": array}))
    column = read_table(path)["ids"]
    assert column.num_chunks == 1  # one record batch: mapped without a copy
    assert as_lists(Sequences.from_column(column)) == rows


def test_reading_copies_nothing(tmp_path):
    write_table(tmp_path / "ids.arrow", pa.table({"ids": pa.array([[1, 2], [3]] * 10_000)}))
    before = pa.total_allocated_bytes()
    sequences = Sequences.from_column(read_table(tmp_path / "ids.arrow")["ids"])
    assert len(sequences) == 20_000
    assert pa.total_allocated_bytes() - before < 10_000
    assert not sequences.values.flags.owndata


@pytest.mark.parametrize(
    ("vocabulary", "kind"), [(16, "uint16"), (2**16, "uint16"), (2**16 + 1, "uint32")]
)
def test_ids_take_the_narrowest_type_that_holds_them(vocabulary, kind):
    assert str(id_type(vocabulary)) == kind
    assert pa.array([vocabulary - 1], id_type(vocabulary))[0].as_py() == vocabulary - 1


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text"])
def test_damaged_files_are_named(tmp_path, damage):
    path = tmp_path / "ids.arrow"
    write_table(path, pa.table({"ids": pa.array([[1, 2], [3]] * 100)}))
    content = path.read_bytes()
    damaged = {"empty": b"", "cut": content[:-20], "text": b"not arrow at all\n" * 20}
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(damaged[damage])
    with pytest.raises(DataError, match=rf"{path}: not a readable Arrow file"):
        read_table(path)
