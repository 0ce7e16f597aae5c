"""Stored distributions say what the teacher said, as far as k entries and float16 can."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdray.errors import DataError
from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import soft_loss
from kdray.methods.targets import SoftTargets
from kdray.teacher.stored import Layout
from kdray.teacher.topk import ARRAYS, TopK, at_temperature, compress

VOCAB, TEMPERATURES = 12, (1.0, 2.0, 0.5)
LENGTHS = (3, 1, 4, 2, 5)
LABELS = torch.tensor([4, 0, 11, 7, 2, 2, 9, 5, 1, 3, 8, 6, 10, 0, 4])
COMMON = ("pair_ids", "offsets")


def logits(*, size=3.0, seed=1, positions=sum(LENGTHS)):
    torch.manual_seed(seed)
    return size * torch.randn(positions, VOCAB, dtype=torch.float64)


def stored(logits_NV, *, k, labels=LABELS):
    kept = compress(logits_NV, labels, k=k, temperatures=TEMPERATURES)
    return TopK(
        folder=Path(),
        pair_ids=np.arange(len(LENGTHS)) * 10 + 7,
        offsets=np.concatenate(([0], np.cumsum(LENGTHS))),
        temperatures=np.array(TEMPERATURES),
        ids=kept.ids.numpy().astype(np.uint16),
        logp=kept.logp.numpy().astype(np.float16),
        log_tail=kept.log_tail.numpy(),
        label_rank=kept.label_rank.numpy().astype(np.uint16),
        log_label=kept.log_label.numpy().astype(np.float16),
    )


def save(topk, folder):
    arrays = {name: getattr(topk, name) for name in ARRAYS}
    Layout(folder, topk.pair_ids, topk.offsets).save(arrays)


@pytest.fixture
def folder(tmp_path):
    save(stored(logits(), k=4), tmp_path)
    return tmp_path


def everything(logits_NV, folder, *, k, temperature):
    """Soft targets at all positions, through the disk."""
    save(stored(logits_NV, k=k), folder)
    rows = np.arange(len(LENGTHS))
    return TopK.load(folder).rows(rows).targets(rows, temperature=temperature)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("k", [1, 3, VOCAB])
def test_kept_entries_are_the_largest_and_their_mass_is_right(tmp_path, k, temperature):
    """float16 keeps 11 bits: a log-probability of −16 to −8 nats is off by 2^-8 at most."""
    teacher = logits()
    soft = everything(teacher, tmp_path, k=k, temperature=temperature)
    exact = (teacher / temperature).log_softmax(1)
    assert torch.equal(soft.ids_NK, teacher.topk(k).indices)
    expected = exact.gather(1, soft.ids_NK)
    rounding = expected.abs().clamp(min=1) * 2**-10 / min(temperature, 1)
    assert ((soft.logp_NK - expected).abs() <= 2 * rounding + 1e-5).all()
    mass = soft.logp_NK.exp().sum(1) + soft.log_tail_N.exp()
    torch.testing.assert_close(mass, torch.ones(len(mass)), rtol=0, atol=1e-6)
    tail = exact.scatter(1, soft.ids_NK, -torch.inf).logsumexp(1).float()
    torch.testing.assert_close(soft.log_tail_N, tail, rtol=1e-5, atol=1e-5)
    assert soft.temperature == temperature


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("k", [1, 3, VOCAB])
def test_the_label_has_its_own_probability(tmp_path, k, temperature):
    """That of its entry where it is kept; else as float16 holds it, and within the tail."""
    teacher = logits()
    soft = everything(teacher, tmp_path, k=k, temperature=temperature)
    found = soft.log_labels(LABELS)
    is_label = soft.ids_NK == LABELS[:, None]
    kept = is_label.any(1)
    assert kept.any()
    assert kept.all() == (k == VOCAB)
    assert torch.equal(found[kept], soft.logp_NK[is_label])
    exact = (teacher / temperature).log_softmax(1).gather(1, LABELS[:, None]).squeeze(1).float()
    torch.testing.assert_close(found[~kept], exact[~kept], rtol=2**-10, atol=1e-6)
    assert (found[~kept] <= soft.log_tail_N[~kept]).all()


def test_a_label_that_is_the_whole_tail_is_no_likelier_than_it():
    """What float16 rounds up would be more than all that is left."""
    teacher = logits()
    whole = stored(teacher, k=VOCAB - 1, labels=teacher.argmin(1))
    soft = whole.targets(np.arange(len(LENGTHS)), temperature=1.0)
    assert (whole.log_label[:, 0] > whole.log_tail[:, 0]).any()
    assert (soft.log_label_N <= soft.log_tail_N).all()


def test_a_label_of_hardly_any_probability_stays_finite(tmp_path):
    teacher = logits(size=1e6)
    soft = everything(teacher, tmp_path, k=1, temperature=0.5)
    assert soft.log_labels(LABELS).isfinite().all()


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_all_entries_kept_is_the_dense_divergence(temperature):
    """Before float16: value and gradient to 1e-5."""
    teacher, student = logits(), logits(seed=2, size=1.0).float().requires_grad_()
    ids, logp, log_tail, *_ = compress(teacher, LABELS, k=VOCAB, temperatures=[temperature])
    assert (log_tail == -torch.inf).all()
    kept = at_temperature(logp, log_tail[:, 0], temperature=temperature)
    soft = SoftTargets(ids, kept, log_tail[:, 0], temperature)
    found = token_losses(student, torch.eye(VOCAB), soft=soft_loss(soft)).total
    p, q = ((z / temperature).log_softmax(1) for z in (teacher.float(), student))
    expected = (p.exp() * (p - q)).sum()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        *(torch.autograd.grad(value, student)[0] for value in (found, expected)),
        rtol=1e-5, atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_all_entries_kept_on_disk_is_near_the_dense_divergence(tmp_path, temperature):
    """float16 log-probabilities (−16 nats at the least) move the gradient by 2^-8 at most."""
    teacher, student = logits(), logits(seed=2, size=1.0).float().requires_grad_()
    soft = everything(teacher, tmp_path, k=VOCAB, temperature=temperature)
    found = token_losses(student, torch.eye(VOCAB), soft=soft_loss(soft)).total
    p, q = ((z / temperature).log_softmax(1) for z in (teacher.float(), student))
    expected = (p.exp() * (p - q)).sum()
    torch.testing.assert_close(found, expected, rtol=2**-8, atol=0)
    torch.testing.assert_close(
        *(torch.autograd.grad(value, student)[0] for value in (found, expected)),
        rtol=0, atol=2**-8,
    )  # fmt: skip


@pytest.mark.parametrize("peak", [20.0, 40.0, 80.0])
def test_the_tail_of_a_sure_teacher_does_not_cancel(peak):
    """1 − head is 0 in float32 from 17 nats on; the sum over the other entries is not."""
    teacher = torch.zeros(1, VOCAB, dtype=torch.float64)
    teacher[0, 5] = peak
    _, logp, log_tail, *_ = compress(teacher, LABELS[:1], k=1, temperatures=TEMPERATURES)
    assert logp.item() == pytest.approx(0, abs=1e-6)
    for column, temperature in enumerate(TEMPERATURES):
        exact = (teacher / temperature).log_softmax(1).scatter(1, torch.tensor([[5]]), -torch.inf)
        assert log_tail[0, column].item() == pytest.approx(exact.logsumexp(1).item(), rel=1e-6)


@pytest.mark.slow
@given(
    st.integers(1, VOCAB), st.sampled_from([0.3, 1.0, 4.0]), st.floats(0, 30), st.integers(0, 1000)
)
def test_mass_is_one_at_every_temperature(k, temperature, size, seed):
    teacher = logits(size=size, seed=seed)
    ids, logp, log_tail, *_ = compress(teacher, LABELS, k=k, temperatures=[temperature])
    kept = at_temperature(logp.half().float(), log_tail[:, 0], temperature=temperature)
    mass = kept.exp().sum(1) + log_tail[:, 0].exp()
    torch.testing.assert_close(mass, torch.ones(len(mass)), rtol=0, atol=2e-6)
    assert (kept.diff(dim=1) <= 0).all()  # rank order
    assert all(len(set(row.tolist())) == k for row in ids)


@pytest.mark.slow
@given(st.permutations(range(len(LENGTHS))), st.lists(st.integers(0, 4), max_size=8))
def test_rows_are_found_by_their_place_in_the_order(order, chosen):
    """Row i of the student is row order[i] here; positions of a row stay together."""
    teacher = logits()
    whole = stored(teacher, k=3)
    found = whole.rows(np.array(order)).targets(np.array(chosen, dtype=np.int64), temperature=2.0)
    starts = whole.offsets
    places = [
        place for row in chosen for place in range(starts[order[row]], starts[order[row] + 1])
    ]
    assert found.ids_NK.tolist() == whole.ids[places].tolist()
    assert found.log_tail_N.tolist() == whole.log_tail[places, 1].tolist()
    assert found.logp_NK.shape == (len(places), 3)


def test_round_trip_is_exact_and_mapped(folder):
    saved, loaded = stored(logits(), k=4), TopK.load(folder)
    for name in (*COMMON, *ARRAYS):
        before, after = getattr(saved, name), getattr(loaded, name)
        assert before.dtype == after.dtype
        assert np.array_equal(before, after)
    assert isinstance(loaded.logp, np.memmap)


def test_no_pairs_is_a_valid_folder(tmp_path):
    whole = stored(logits(), k=4)
    cut = {name: getattr(whole, name)[:0] for name in ("pair_ids", *ARRAYS)}
    kept = {"offsets": whole.offsets[:1], "temperatures": whole.temperatures}
    save(replace(whole, **cut | kept), tmp_path)
    loaded = TopK.load(tmp_path)
    assert loaded.rows(np.arange(0)).targets(np.arange(0), temperature=1.0).ids_NK.shape == (0, 4)


@pytest.mark.parametrize("name", [*COMMON, *ARRAYS])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text"])
def test_damaged_files_are_named(folder, name, damage):
    path = folder / f"{name}.npy"
    content = path.read_bytes()
    damaged = {"empty": b"", "cut": content[:-8], "text": b"not an array"}
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(damaged[damage])
    with pytest.raises(DataError, match=rf"{folder}: not readable as top-k"):
        TopK.load(folder)


@pytest.mark.parametrize(
    "changed",
    [
        {"pair_ids": np.arange(4)},
        {"offsets": np.array([0, 3])},
        {"offsets": np.zeros(0, dtype=np.int64)},
        {"ids": np.zeros((15, 3), dtype=np.uint16)},
        {"ids": np.zeros(15, dtype=np.uint16)},
        {"logp": np.zeros((14, 4), dtype=np.float16)},
        {"log_tail": np.zeros((15, 2), dtype=np.float32)},
        {"log_tail": np.zeros(15, dtype=np.float32)},
        {"temperatures": np.ones(2)},
        {"label_rank": np.zeros(14, dtype=np.uint16)},
        {"log_label": np.zeros((15, 1), dtype=np.float16)},
    ],
    ids=lambda changed: "-".join(f"{name}{array.shape}" for name, array in changed.items()),
)
def test_arrays_that_do_not_fit_together_are_refused_with_their_shapes(folder, changed):
    for name, array in changed.items():
        np.save(folder / f"{name}.npy", array)
    with pytest.raises(DataError, match=rf"{folder}: arrays do not fit together: .* is \("):
        TopK.load(folder)


def test_arrays_are_never_unpickled(folder):
    np.save(folder / "ids.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="not readable as top-k"):
        TopK.load(folder)
