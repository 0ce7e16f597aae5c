"""Signals that are made of other signals prove that those belong to their pairs."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sharded import at, make, own

from kdray.config.methods.interpolation import InterpolationConfig
from kdray.config.signals import TopKConfig
from kdray.errors import DataError
from kdray.schema import Column
from kdray.teacher.distributions import DistributionJob
from kdray.teacher.hypotheses import FILE
from kdray.teacher.selection import SelectionJob
from kdray.text.sequences import read_table, write_table


@pytest.fixture
def rotated(hypotheses, tmp_path):
    """The translations, each pair with those of its neighbour."""
    table = read_table(hypotheses / FILE)
    place = table.schema.get_field_index(Column.PAIR_ID)
    pair_ids = pa.array(np.roll(table[Column.PAIR_ID].to_numpy(), 2))
    folder = tmp_path / "rotated"
    folder.mkdir()
    write_table(folder / FILE, table.set_column(place, Column.PAIR_ID, pair_ids))
    return folder


def test_distributions_are_not_made_of_translations_of_other_pairs(
    teacher, encoded, rotated, tmp_path
):
    job = DistributionJob(own(teacher), at(encoded), at(rotated), TopKConfig(k=3))
    with pytest.raises(DataError, match="made of another pair than the one that their pair_id"):
        make(job, tmp_path / "made", shard_rows=5)


def test_nothing_is_chosen_by_references_of_other_pairs(encoded, rotated, tmp_path):
    ids = read_table(encoded / "train.arrow")[Column.PAIR_ID].to_pylist()
    texts = {Column.PAIR_ID: ids, Column.SRC: list(map(str, ids)), Column.REF: ["r"] * len(ids)}
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    pq.write_table(pa.table(texts), corpus / "train.parquet")
    config = InterpolationConfig(kind="interpolation", n=2)
    with pytest.raises(DataError, match="made of another pair than the one that their pair_id"):
        make(
            SelectionJob(at(rotated), at(corpus), config, at(encoded)),
            tmp_path / "made",
            shard_rows=5,
        )
