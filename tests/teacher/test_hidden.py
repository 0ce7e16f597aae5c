"""Stored states say all that the teacher says."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdray.errors import DataError, StageFailed
from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.methods.targets import DenseTargets, Member
from kdray.teacher.hidden import OUTPUT, Hidden, write_hidden
from kdray.teacher.stored import Layout, Read
from kdray.text.sequences import offsets_of

VOCAB, WIDTHS = 12, (6, 4)
LENGTHS = np.array([3, 1, 4, 2, 5])
POSITIONS = int(LENGTHS.sum())


def member(width, *, seed):
    """States that float16 holds as they are."""
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(POSITIONS, width, generator=generator).half().float()
    return Member(states, torch.randn(VOCAB, width, generator=generator))


MEMBERS = tuple(member(width, seed=seed) for seed, width in enumerate(WIDTHS))
LOG_WEIGHTS_BM = torch.tensor([[0.5, 0.5], [0.1, 0.9], [0.9, 0.1], [0.3, 0.7], [1.0, 0.0]]).log()


def store(folder, members=MEMBERS, *, log_weights_BM=None, lengths=LENGTHS):
    layout = Layout(folder, np.arange(len(lengths)) * 10 + 7, offsets_of(lengths))
    weights = [m.weight_VD for m in members]
    weighted = log_weights_BM is not None
    reads = []
    for rows in (np.array([3, 0]), np.array([4, 1, 2])):
        rows = rows[rows < len(lengths)]
        places = torch.from_numpy(layout.places(rows))
        read = DenseTargets(tuple(Member(m.hidden_ND[places], m.weight_VD) for m in members))
        labels = torch.zeros(len(places), dtype=torch.long)
        of_rows = log_weights_BM[rows] if weighted else None
        reads.append(Read(rows, labels, read, of_rows))
    assert write_hidden(layout, reads, weights, first=True, weighted=weighted) == {}
    return Hidden.load(folder)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("number", [1, 2])
def test_it_is_the_dense_divergence(tmp_path, number, temperature):
    """Value and gradient to 1e-5."""
    members = MEMBERS[:number]
    stored = store(tmp_path, members)
    student = torch.randn(POSITIONS, VOCAB, generator=torch.Generator().manual_seed(9))
    student.requires_grad_()
    soft = stored.targets(np.arange(len(LENGTHS)), temperature=temperature)
    found = token_losses(student, torch.eye(VOCAB), soft=soft_loss(soft)).total
    mean = sum((m.hidden_ND @ m.weight_VD.T).softmax(1) for m in members) / number
    p, q = ((z / temperature).log_softmax(1) for z in (mean.log(), student))
    expected = (p.exp() * (p - q)).sum()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        *(torch.autograd.grad(value, student)[0] for value in (found, expected)),
        rtol=1e-5, atol=1e-5,
    )  # fmt: skip


@pytest.mark.slow
@given(st.permutations(range(len(LENGTHS))), st.lists(st.integers(0, 4), max_size=6))
def test_rows_are_found_by_their_place_in_the_order(tmp_path_factory, order, chosen):
    stored = store(tmp_path_factory.mktemp("stored"), log_weights_BM=LOG_WEIGHTS_BM)
    found = stored.rows(np.array(order)).targets(np.array(chosen, dtype=np.int64), temperature=1.0)
    rows = [order[i] for i in chosen]
    places = [p for row in rows for p in range(stored.offsets[row], stored.offsets[row + 1])]
    for ours, whole in zip(found.members, MEMBERS, strict=True):
        assert torch.equal(ours.hidden_ND, whole.hidden_ND[places])
        assert torch.equal(ours.weight_VD, whole.weight_VD)
    expected = LOG_WEIGHTS_BM[[row for row in rows for _ in range(LENGTHS[row])]]
    assert torch.equal(found.log_weights_NM, expected.reshape(-1, 2))


def test_weights_count(tmp_path):
    """The last pair listens to the first member alone."""
    stored = store(tmp_path, log_weights_BM=LOG_WEIGHTS_BM)
    found = stored.targets(np.array([4]), temperature=1.0).log_probs()
    alone = DenseTargets(MEMBERS[:1]).part(slice(-5, None)).log_probs()
    torch.testing.assert_close(found, alone)


def test_states_are_mapped_in_float16(tmp_path):
    stored = store(tmp_path)
    assert all(isinstance(states, np.memmap) for states in stored.states)
    assert [states.dtype for states in stored.states] == [np.float16] * 2
    assert stored.log_weights is None


def test_a_state_that_float16_does_not_hold_is_refused(tmp_path):
    large = Member(MEMBERS[0].hidden_ND * 1e6, MEMBERS[0].weight_VD)
    with pytest.raises(StageFailed, match="beyond ±65504"):
        store(tmp_path, (large,))


def test_no_pairs_is_a_valid_folder(tmp_path):
    stored = store(tmp_path, lengths=LENGTHS[:0])
    assert stored.targets(np.arange(0), temperature=1.0).log_probs().shape == (0, VOCAB)


@pytest.mark.parametrize("name", ["pair_ids.npy", "offsets.npy", "states_1.npy", OUTPUT])
def test_damaged_files_are_named(tmp_path, name):
    store(tmp_path)
    (tmp_path / name).write_bytes(b"not an array")
    with pytest.raises(DataError, match=rf"{tmp_path}: not readable as hidden"):
        Hidden.load(tmp_path)


@pytest.mark.parametrize("name", ["pair_ids", "offsets", "states_1", "log_weights"])
def test_arrays_that_do_not_fit_together_are_refused(tmp_path, name):
    store(tmp_path, log_weights_BM=LOG_WEIGHTS_BM)
    path = tmp_path / f"{name}.npy"
    np.save(path, np.load(path)[:-1])
    with pytest.raises(DataError, match=rf"{tmp_path}: arrays do not fit together"):
        Hidden.load(tmp_path)
