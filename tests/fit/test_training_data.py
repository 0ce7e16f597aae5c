"""Batches: every label beside the prefix that it follows, and every sum over its own count."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nano_training import PAIRS, new_objective, training_data

from kdray.fit.data import TrainingData
from kdray.methods.base import Per
from kdray.methods.sequences import build_target
from kdray.methods.targets import SoftTargets
from kdray.schema import View
from kdray.text.tokenizer import BOS, PAD

CPU = torch.device("cpu")
some_rows = st.lists(st.integers(0, PAIRS - 1), min_size=1, max_size=9).map(np.array)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return training_data(new_objective("prior").method)


@pytest.mark.slow
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


@pytest.mark.slow
@given(rows=some_rows)
def test_counts_are_the_real_positions(data: TrainingData, rows: np.ndarray) -> None:
    batch = data.batch(rows, device=CPU)
    assert data.counts(rows) == {
        Per.REFERENCE: len(batch.targets[View.REFERENCE].labels_N),
        Per.HYPOTHESIS: len(batch.targets[View.HYPOTHESIS].labels_N),
        Per.SENTENCE: len(rows),
    }


@pytest.mark.slow
@given(rows=some_rows)
def test_the_source_is_padded_and_masked(data: TrainingData, rows: np.ndarray) -> None:
    batch = data.batch(rows, device=CPU)
    assert torch.equal(batch.src_mask_BS, batch.src_BS != PAD)
    for i, row in enumerate(rows):
        assert batch.src_BS[i][batch.src_mask_BS[i]].tolist() == data.src[row].tolist()


@pytest.mark.slow
@given(rows=some_rows)
def test_distributions_are_those_of_their_rows_and_of_the_views_that_are_read(
    data: TrainingData, rows: np.ndarray
) -> None:
    method = new_objective("prior").method
    batch = data.with_teacher(data.batch(rows, device=CPU), rows, method.needs)
    assert batch.targets[View.HYPOTHESIS].teacher is None
    target = batch.targets[View.REFERENCE]
    assert isinstance(target.teacher, SoftTargets)
    for i, row in enumerate(rows):
        alone = data.distributions[View.REFERENCE].targets(np.array([row]), temperature=1.0)
        here = target.sentence_N == i
        assert torch.equal(target.teacher.ids_NK[here], alone.ids_NK)
        assert torch.equal(target.teacher.logp_NK[here], alone.logp_NK)
        assert torch.equal(target.teacher.log_tail_N[here], alone.log_tail_N)
        assert torch.equal(target.teacher.log_label_N[here], alone.log_label_N)


@pytest.mark.slow
@given(rows=some_rows)
def test_a_teacher_that_runs_beside_the_student_reads_stored_and_written_sequences(
    rows: np.ndarray,
) -> None:
    objective = new_objective("on_policy", dropout=0.0)
    data = training_data(objective.method)
    torch.manual_seed(1)
    batch = objective.method.prepare(objective.student, data.batch(rows, device=CPU))
    batch = data.with_teacher(batch, rows, objective.method.needs)
    (teacher,) = data.teacher.models
    for view in (View.REFERENCE, View.STUDENT):
        target = batch.targets[view]
        logits = teacher(batch.src_BS, batch.src_mask_BS, target.inputs_BT)
        wanted = logits.flatten(0, 1)[target.positions_N].log_softmax(1)
        torch.testing.assert_close(target.teacher.log_probs(), wanted, rtol=1e-4, atol=1e-5)
        assert not target.teacher.logits().requires_grad


@pytest.mark.parametrize("precision", ["fp32", "bf16_autocast"])
def test_whole_distributions_are_cast_once_to_the_precision_of_products(precision: str) -> None:
    objective = new_objective("imitation", dropout=0.0)
    data, rows = training_data(objective.method), np.arange(3)
    objective.precision = precision
    with torch.no_grad(), objective.products():
        batch = objective.method.prepare(objective.student, data.batch(rows, device=CPU))
        batch = data.with_teacher(batch, rows, objective.method.needs)
    wanted = torch.float32 if precision == "fp32" else torch.bfloat16
    found = [target.teacher for target in batch.targets.values() if target.teacher is not None]
    assert found
    for member in (member for teacher in found for member in teacher.members):
        assert member.hidden_ND.dtype == member.weight_VD.dtype == wanted


def test_a_sequence_that_was_not_written_is_not_read() -> None:
    """As with λ = 0: the view is left out, and nothing stands in for it."""
    objective = new_objective("on_policy")
    data = training_data(objective.method)
    rows = np.arange(3)
    batch = data.with_teacher(data.batch(rows, device=CPU), rows, objective.method.needs)
    assert set(batch.targets) == {View.REFERENCE}
    assert batch.targets[View.REFERENCE].teacher is not None


@pytest.mark.slow
@given(st.integers(16, 100), st.integers(0, 5), st.integers(0, 3))
def test_an_epoch_has_every_pair_once(data_tokens: int, seed: int, epoch: int) -> None:
    data = training_data(new_objective("cross_entropy").method)
    plan = data.plan(tokens_per_update=data_tokens, seed=seed)
    batches = plan.epoch(epoch)
    assert sorted(np.concatenate(batches)) == list(range(PAIRS))
    assert len(batches) == plan.batches_per_epoch()
    tokens = [data.counts(rows)[Per.REFERENCE] for rows in batches]
    assert all(n <= data_tokens or len(rows) == 1 for n, rows in zip(tokens, batches, strict=True))
