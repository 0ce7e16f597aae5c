"""Nano teachers that were never trained, in a folder each, and an encoded corpus for them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from trained_translators import all_translators

from kdray.config.model import ModelConfig
from kdray.model.storage import Shape, save_model, tensors
from kdray.schema import Column, Split
from kdray.teacher.hypotheses import FILE
from kdray.text.pairing import source_hashes
from kdray.text.sequences import write_table
from kdray.text.tokenizer import EOS

VOCAB, POSITIONS, PAIRS = 40, 12, 20
LONG = 11  # this pair has a reference that is longer than the positions

__all__ = ["all_translators"]

NewTeacher = Callable[..., Path]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def new_teacher(tmp_path_factory: pytest.TempPathFactory) -> NewTeacher:
    def make(
        *,
        seed: int,
        width: int = 16,
        tokenizer: str = "t",
        src_vocab: int = VOCAB,
        vocab: int = VOCAB,
        shared: bool = True,
    ) -> Path:
        folder = tmp_path_factory.mktemp("teacher")
        config = ModelConfig(preset="nano", width=width, max_length=POSITIONS)
        shape = Shape(
            config=config, src_vocab=src_vocab, tgt_vocab=vocab, shared=shared, tokenizer=tokenizer
        )
        torch.manual_seed(seed)
        save_model(folder, shape, tensors(shape.build()))
        return folder

    return make


@pytest.fixture(scope="session")
def teacher(new_teacher: NewTeacher) -> Path:
    return new_teacher(seed=1)


@pytest.fixture(scope="session")
def other(new_teacher: NewTeacher) -> Path:
    """Another width, the same vocabulary."""
    return new_teacher(seed=2, width=8)


@pytest.fixture(scope="session")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoded")
    rng = np.random.default_rng(1)
    pair_ids = rng.permutation(1000)[:PAIRS]
    columns = {Column.PAIR_ID: pa.array(pair_ids, pa.int64())}
    columns[Column.SRC_HASH] = pa.array(source_hashes(map(str, pair_ids)))
    for name in (Column.SRC_IDS, Column.REF_IDS):
        rows = [[*rng.integers(4, VOCAB, rng.integers(1, 9)), EOS] for _ in range(PAIRS)]
        if name is Column.REF_IDS:
            rows[LONG] = [*rng.integers(4, VOCAB, POSITIONS), EOS]
        columns[name] = pa.array(rows, pa.list_(pa.uint16()))
    write_table(folder / f"{Split.TRAIN}.arrow", pa.table(columns))
    return folder


@pytest.fixture(scope="session")
def hypotheses(encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two translations of each pair but the third, which none could be made of."""
    folder = tmp_path_factory.mktemp("hypotheses")
    rng = np.random.default_rng(2)
    pair_ids = pa.ipc.open_file(encoded / "train.arrow").read_all()[Column.PAIR_ID].to_pylist()
    rows = [(i, rank) for i in pair_ids if i != pair_ids[2] for rank in range(2)]
    ids = [[*rng.integers(4, VOCAB, rng.integers(1, 9)), EOS] for _ in rows]
    columns = {
        Column.PAIR_ID: pa.array([i for i, _ in rows], pa.int64()),
        Column.SRC_HASH: pa.array(source_hashes(str(i) for i, _ in rows)),
        Column.HYP_RANK: pa.array([rank for _, rank in rows], pa.int32()),
        Column.HYP: pa.array([f"{i} {rank}" for i, rank in rows], pa.large_string()),
        Column.HYP_IDS: pa.array(ids, pa.list_(pa.uint16())),
        Column.FINISHED: pa.array([i % 2 == 0 for i, _ in rows], pa.bool_()),
    }
    write_table(folder / FILE, pa.table(columns))
    return folder
