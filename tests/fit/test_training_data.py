"""Batches: every label beside the prefix that it follows, and every sum over its own count."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nano_training import PAIRS, new_objective, training_data

from kdray.fit.data import TrainingData, build_target
from kdray.methods.base import Per
from kdray.schema import View
from kdray.text.tokenizer import BOS, PAD

CPU = torch.device("cpu")
some_rows = st.lists(st.integers(0, PAIRS - 1), min_size=1, max_size=9).map(np.array)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return training_data(new_objective("prior").method)


@given(rows=some_rows)
def test_labels_stand_beside_their_prefixes(data: TrainingData, rows: np.ndarray) -> None:
    ids = data.views[View.REFERENCE]
    target = build_target(ids, rows, device=CPU)
    longest = target.inputs_BT.size(1)
    assert longest == ids.lengths[rows].max()
    for i, row in enumerate(rows):
        tokens = ids[row].tolist()
        assert target.labels_N[target.sentence_N == i].tolist() == tokens
        inputs = target.inputs_BT[i].tolist()
        assert inputs[: len(tokens)] == [BOS, *tokens[:-1]]
        places = target.positions_N[target.sentence_N == i] - i * longest
        assert places.tolist() == list(range(len(tokens)))


@given(rows=some_rows)
def test_counts_are_the_real_positions(data: TrainingData, rows: np.ndarray) -> None:
    batch = data.batch(rows, soft_view=None, temperature=1.0, device=CPU)
    assert data.counts(rows) == {
        Per.REFERENCE: len(batch.targets[View.REFERENCE].labels_N),
        Per.HYPOTHESIS: len(batch.targets[View.HYPOTHESIS].labels_N),
        Per.SENTENCE: len(rows),
    }


@given(rows=some_rows)
def test_the_source_is_padded_and_masked(data: TrainingData, rows: np.ndarray) -> None:
    batch = data.batch(rows, soft_view=None, temperature=1.0, device=CPU)
    assert torch.equal(batch.src_mask_BS, batch.src_BS != PAD)
    for i, row in enumerate(rows):
        assert batch.src_BS[i][batch.src_mask_BS[i]].tolist() == data.src[row].tolist()


@given(rows=some_rows)
def test_distributions_are_those_of_their_rows_and_of_one_view(
    data: TrainingData, rows: np.ndarray
) -> None:
    batch = data.batch(rows, soft_view=View.REFERENCE, temperature=1.0, device=CPU)
    assert batch.targets[View.HYPOTHESIS].soft is None
    target = batch.targets[View.REFERENCE]
    assert target.soft is not None
    for i, row in enumerate(rows):
        alone = data.distributions[View.REFERENCE].targets(np.array([row]), temperature=1.0)
        here = target.sentence_N == i
        assert torch.equal(target.soft.ids_NK[here], alone.ids_NK)
        assert torch.equal(target.soft.logp_NK[here], alone.logp_NK)
        assert torch.equal(target.soft.log_tail_N[here], alone.log_tail_N)


@given(st.integers(16, 100), st.integers(0, 5), st.integers(0, 3))
def test_an_epoch_has_every_pair_once(data_tokens: int, seed: int, epoch: int) -> None:
    data = training_data(new_objective("cross_entropy").method)
    plan = data.plan(tokens_per_update=data_tokens, seed=seed)
    batches = plan.epoch(epoch)
    assert sorted(np.concatenate(batches)) == list(range(PAIRS))
    assert len(batches) == plan.batches_per_epoch()
    tokens = [data.counts(rows)[Per.REFERENCE] for rows in batches]
    assert all(n <= data_tokens or len(rows) == 1 for n, rows in zip(tokens, batches, strict=True))
