"""Draws are unbiased, counted right, and the same wherever a pair is drawn for."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kdray.config.signals import SampledConfig
from kdray.errors import ConfigError, DataError
from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.methods.targets import DenseTargets, Member
from kdray.teacher.sampled import Sampled, draw, filled, tally, write_sampled
from kdray.teacher.stored import Layout, Read
from kdray.text.sequences import offsets_of

VOCAB, LENGTHS = 12, np.array([3, 1, 4, 2, 5])
ARRAYS = ("pair_ids", "offsets", "distinct", "ids", "counts")


def logits(positions, *, seed=1, size=2.0):
    torch.manual_seed(seed)
    return size * torch.randn(positions, VOCAB)


def dense(logits_NV):
    """A teacher that says these logits."""
    return DenseTargets((Member(logits_NV, torch.eye(VOCAB)),))


def sampled(folder, logits_NV, *, lengths=LENGTHS, draws=50, seed=1, pair_ids=None):
    """Through the disk; the pairs come one by one, the last first."""
    pair_ids = np.arange(len(lengths)) * 10 + 7 if pair_ids is None else pair_ids
    layout = Layout(folder, pair_ids, offsets_of(lengths))
    reads = []
    for row in reversed(range(len(lengths))):
        part = slice(layout.offsets[row], layout.offsets[row + 1])
        labels = torch.zeros(int(lengths[row]), dtype=torch.long)
        reads.append(Read(np.array([row]), labels, dense(logits_NV[part])))
    config = SampledConfig(draws=draws, seed=seed)
    assert write_sampled(layout, reads, config, vocabulary=VOCAB) == {}
    return Sampled.load(folder)


def shares(soft):
    """Whole distributions. -> [N, V]."""
    return torch.zeros(len(soft.ids_NK), VOCAB).scatter(1, soft.ids_NK, soft.logp_NK.exp())


def everything(stored):
    return stored.targets(np.arange(len(stored.pair_ids)), temperature=1.0)


@pytest.mark.slow
def test_the_mean_over_draws_is_the_distribution(tmp_path):
    """10 000 positions with one distribution: every entry is within 5 of its standard errors."""
    teacher = logits(1).expand(10_000, VOCAB)
    found = shares(everything(sampled(tmp_path, teacher, lengths=np.array([9_999, 1])))).double()
    p = teacher[0].double().softmax(0)
    error = (p * (1 - p) / 50 / len(found)).sqrt()
    assert ((found.mean(0) - p).abs() < 5 * error).all()
    # as many draws scatter around it as draws with replacement do
    torch.testing.assert_close(found.var(0), p * (1 - p) / 50, rtol=0.1, atol=1e-6)


@pytest.mark.parametrize("count", [0, 255])
def test_counts_that_no_draws_can_have_are_refused(tmp_path, count):
    sampled(tmp_path, logits(15))
    counts = np.load(tmp_path / "counts.npy")
    np.save(tmp_path / "counts.npy", np.full_like(counts, count))
    with pytest.raises(DataError, match=r"damaged signal sampled: \d+ to \d+ draws.*remove"):
        everything(Sampled.load(tmp_path))


def test_the_error_falls_with_the_root_of_the_draws():
    p = logits(1).double().softmax(1)
    uniform = torch.from_numpy(np.random.default_rng(5).random((400, 1024)))
    errors = []
    for draws in (16, 64, 256, 1024):
        drawn = draw(logits(1).expand(400, VOCAB), uniform[:, :draws])
        counts = torch.zeros(400, VOCAB).scatter_add(1, drawn, torch.ones(drawn.shape))
        errors.append((counts / draws - p).square().mean().sqrt().item())
    for more, fewer in zip(errors[1:], errors, strict=False):
        assert fewer / more == pytest.approx(2, rel=0.1)


@pytest.mark.slow
def test_the_gradient_is_that_of_the_dense_divergence(tmp_path):
    """In expectation; here the mean over 8000 positions of one kind, with 10 draws each."""
    teacher = logits(1).expand(8_000, VOCAB)
    stored = sampled(tmp_path, teacher, lengths=np.array([8_000]), draws=10)
    student = logits(1, seed=2, size=1.0)
    gradients = []
    for soft in (everything(stored), dense(teacher)):
        states = student.expand(8_000, VOCAB).clone().requires_grad_()
        total = token_losses(states, torch.eye(VOCAB), soft=soft_loss(soft)).total
        gradients.append(torch.autograd.grad(total, states)[0].mean(0))
    assert gradients[1].abs().max() > 0.05
    torch.testing.assert_close(*gradients, rtol=0, atol=5 * 0.5 / 80_000**0.5)


def test_a_pair_has_its_own_stream(tmp_path):
    """Its draws depend on its id and on the seed alone, not on the pairs beside it."""
    teacher = logits(int(LENGTHS.sum()))
    (tmp_path / "alone").mkdir()
    whole = sampled(tmp_path, teacher)
    alone = sampled(tmp_path / "alone", teacher[4:8], lengths=LENGTHS[2:3],
                    pair_ids=whole.pair_ids[2:3])  # fmt: skip
    torch.testing.assert_close(shares(everything(alone)), shares(everything(whole))[4:8])
    again = sampled(tmp_path / "alone", teacher, seed=2)
    assert not torch.equal(shares(everything(again)), shares(everything(whole)))


def test_no_two_pairs_have_the_same_stream(tmp_path):
    teacher = logits(1).expand(20, VOCAB)
    found = shares(everything(sampled(tmp_path, teacher, lengths=np.full(5, 4))))
    assert len(found.unique(dim=0)) == 20


@pytest.mark.slow
@given(
    hnp.arrays(np.int64, st.tuples(st.integers(0, 5), st.integers(1, 9)),
               elements=st.integers(0, 11))
)  # fmt: skip
def test_counts_are_of_the_draws(drawn):
    drawn.sort(axis=1)
    distinct, ids, counts = tally(drawn)
    start = 0
    for row, n in zip(drawn, distinct, strict=True):
        part = slice(start, start + int(n))
        assert dict(zip(ids[part], counts[part], strict=True)) == Counter(row.tolist())
        start += int(n)
    assert start == len(ids) == len(counts)
    assert distinct.dtype == counts.dtype == np.uint8


def test_255_equal_draws_are_counted():
    distinct, ids, counts = tally(np.full((2, 255), 9, dtype=np.uint16))
    assert (distinct.tolist(), ids.tolist(), counts.tolist()) == ([1, 1], [9, 9], [255, 255])


@pytest.mark.slow
@given(st.lists(st.sets(st.integers(0, 8), max_size=7), min_size=1, max_size=5))
def test_fillers_are_ids_that_the_row_has_not(rows):
    width = max(1, *(len(row) for row in rows))
    ids = np.zeros((len(rows), width), dtype=np.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = sorted(row)
    found = filled(ids, np.array([len(row) for row in rows]))
    for row, ours in zip(rows, found.tolist(), strict=True):
        assert ours[: len(row)] == sorted(row)
        assert len(set(ours)) == width
        assert max(ours) <= max(8, width - 1)


@pytest.mark.slow
@given(st.lists(st.integers(0, len(LENGTHS) - 1), max_size=8))
def test_any_rows_can_be_read_in_any_order(tmp_path_factory, chosen):
    stored = sampled(tmp_path_factory.mktemp("stored"), logits(int(LENGTHS.sum())))
    soft = stored.rows(np.array([4, 3, 2, 1, 0])).targets(
        np.array(chosen, dtype=np.int64), temperature=1.0
    )
    starts = offsets_of(LENGTHS)
    whole = shares(everything(stored))
    places = [p for row in chosen for p in range(starts[4 - row], starts[4 - row + 1])]
    torch.testing.assert_close(shares(soft), whole[places])
    assert soft.logp_NK.exp().sum(1).tolist() == pytest.approx([1] * len(places))
    assert (soft.log_tail_N == -torch.inf).all()


def test_a_sure_teacher_and_a_student_as_sure_have_a_finite_loss(tmp_path):
    teacher = torch.zeros(2, VOCAB)
    teacher[:, 3] = 200.0
    soft = everything(sampled(tmp_path, teacher, lengths=np.array([2])))
    student = teacher.clone().requires_grad_()
    total = token_losses(student, torch.eye(VOCAB), soft=soft_loss(soft)).total
    assert total.item() == pytest.approx(0, abs=1e-5)
    assert torch.autograd.grad(total, student)[0].isfinite().all()


def test_rare_tokens_are_drawn_as_often_as_they_are_due():
    """Behind a probability of nearly one, float32 sums could not tell them apart."""
    row = torch.full((1, VOCAB), -20.0)
    row[0, 0] = 0.0
    tail = row.double().softmax(1)[0, 1:].sum().item()
    near_one = 1 - tail * (torch.arange(11).double() + 0.5) / 11
    assert draw(row, near_one[None, :]).tolist() == [list(range(1, 12))]


@pytest.mark.slow
@given(hnp.arrays(np.float64, (8, 30), elements=st.floats(-5, 5)))
def test_what_has_no_probability_is_never_drawn(numbers):
    """Not by the smallest number nor by the largest, though a sum of probabilities is not 1."""
    rows = torch.from_numpy(numbers)
    rows[:, [0, 7, 29]] = -torch.inf
    uniform = torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64).expand(8, 2)
    assert rows.gather(1, draw(rows, uniform)).isfinite().all()


def test_another_temperature_is_refused(tmp_path):
    stored = sampled(tmp_path, logits(int(LENGTHS.sum())))
    with pytest.raises(ConfigError, match="temperature 1, not 2"):
        stored.targets(np.arange(1), temperature=2.0)


@pytest.mark.parametrize("name", ARRAYS)
def test_damaged_files_are_named(tmp_path, name):
    stored = sampled(tmp_path, logits(int(LENGTHS.sum())))
    (tmp_path / f"{name}.npy").write_bytes(b"not an array")
    with pytest.raises(DataError, match=rf"{tmp_path}: not readable as sampled"):
        Sampled.load(tmp_path)
    np.save(tmp_path / f"{name}.npy", getattr(stored, name)[:-1])
    with pytest.raises(DataError, match=rf"{tmp_path}: arrays do not fit together"):
        Sampled.load(tmp_path)
