"""What the teacher says reaches the disk: the same numbers for every form, shard and batch."""

import json

import numpy as np
import pytest
import sharded
import torch
from sharded import at, own

from kdray.config.signals import HiddenConfig, SampledConfig, TopKConfig
from kdray.errors import ConfigError, DataError, StageFailed
from kdray.model import memory
from kdray.model.storage import load_model
from kdray.schema import Form, Split, View
from kdray.teacher.distributions import DistributionJob, check_k
from kdray.teacher.hypotheses import Hypotheses
from kdray.teacher.loading import load_distributions
from kdray.teacher.shards import ShardPlan
from kdray.text.encoded import EncodedSplit
from kdray.text.tokenizer import BOS

pytestmark = pytest.mark.slow

VOCAB, PAIRS = 40, 20  # as in conftest
CONFIGS = {
    Form.TOPK: TopKConfig(k=VOCAB, temperatures=(1.0, 2.0)),
    Form.SAMPLED: SampledConfig(draws=20, seed=3),
    Form.HIDDEN: HiddenConfig(),
}
VIEWS = [View.REFERENCE, View.HYPOTHESIS]


@pytest.fixture
def make(encoded, hypotheses, tmp_path):
    """Score, join and load. -> what was stored, its counts, its folder."""

    def made(config, models, *, view=View.REFERENCE, shard_rows=7, by_perplexity=False):
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        teacher = own(*models, weights="perplexity" if by_perplexity else "uniform")
        hyps = at(hypotheses) if view is View.HYPOTHESIS else None
        job = DistributionJob(teacher, at(encoded), hyps, config)
        _, counts = sharded.make(job, folder, shard_rows=shard_rows)
        form = next(form for form, known in CONFIGS.items() if type(known) is type(config))
        return load_distributions(form, folder), counts, folder

    return made


def sequences(encoded, hypotheses, view):
    """The pairs that are stored, in order: id, source, target, reference."""
    train, hyps = EncodedSplit.load(encoded, Split.TRAIN), Hypotheses.load(hypotheses)
    of_hyp = {int(i): hyps.ids[row] for row, i in enumerate(hyps.pair_ids)}
    rows = []
    for row, pair_id in enumerate(train.pair_ids.tolist()):
        target = train.ref[row] if view is View.REFERENCE else of_hyp.get(pair_id)
        if target is not None and len(target) <= 12:
            rows.append((pair_id, *(torch.tensor(ids.astype(np.int64)) for ids in (
                train.src[row], target, train.ref[row]))))  # fmt: skip
    return rows


def probabilities(model, src, target):
    """One pair at a time, nothing padded. -> [T, V]."""
    inputs = torch.cat((torch.tensor([BOS]), target[:-1]))
    return model(src[None], torch.ones(1, len(src), dtype=torch.bool), inputs[None])[0].softmax(1)


def exact(models, encoded, hypotheses, view=View.REFERENCE):
    """Probabilities at all positions, the mean over the models. -> [N, V]."""
    loaded = [load_model(folder) for folder in models]
    with torch.no_grad():
        return torch.cat([
            sum(probabilities(model, src, target) for model in loaded) / len(loaded)
            for _, src, target, _ in sequences(encoded, hypotheses, view)
        ])  # fmt: skip


def everything(stored, *, temperature=1.0):
    return stored.targets(np.arange(len(stored.pair_ids)), temperature=temperature)


def spread(soft, vocabulary=VOCAB):
    """Sparse targets as whole distributions."""
    dense = torch.zeros(len(soft.ids_NK), vocabulary)
    return dense.scatter(1, soft.ids_NK, soft.logp_NK.exp())


@pytest.mark.parametrize("view", VIEWS)
def test_all_entries_kept_is_what_the_teacher_says(make, teacher, encoded, hypotheses, view):
    stored, counts, _ = make(CONFIGS[Form.TOPK], (teacher,), view=view)
    rows = sequences(encoded, hypotheses, view)
    expected = exact((teacher,), encoded, hypotheses, view)
    soft = everything(stored)
    assert stored.pair_ids.tolist() == [pair_id for pair_id, *_ in rows]
    torch.testing.assert_close(spread(soft), expected, rtol=0, atol=1e-3)
    labels = torch.cat([target for _, _, target, _ in rows])
    log_label = expected.gather(1, labels[:, None]).log().squeeze(1)
    torch.testing.assert_close(soft.log_label_N, log_label, rtol=2**-9, atol=1e-3)
    assert counts["kept_mass"] == pytest.approx(1)
    assert counts["tokens"] == len(expected)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_hidden_is_what_the_teacher_says_at_any_temperature(
    make, teacher, encoded, hypotheses, temperature
):
    stored, *_ = make(CONFIGS[Form.HIDDEN], (teacher,), view=View.HYPOTHESIS)
    expected = exact((teacher,), encoded, hypotheses, View.HYPOTHESIS)
    expected = (expected.log() / temperature).softmax(1)
    found = everything(stored, temperature=temperature).log_probs().exp()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_draws_are_from_what_the_teacher_says(make, teacher, encoded, hypotheses):
    stored, *_ = make(SampledConfig(draws=250), (teacher,))
    expected = exact((teacher,), encoded, hypotheses).double()
    variance = expected * (1 - expected) / 250
    z = (spread(everything(stored)) - expected) / variance.sqrt()
    assert z.mean().abs() < 0.05
    assert z.square().mean().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "by perplexity"])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("form", CONFIGS)
def test_shards_and_batches_do_not_count(make, monkeypatch, teacher, other, form, view, weighted):
    """Padding moves the last bits of float32, so numbers are compared after float16's rounding."""
    models = (teacher, other) if weighted else (teacher,)
    first, counts, folder = make(CONFIGS[form], models, view=view, by_perplexity=weighted)
    monkeypatch.setattr(memory, "_tokens", 6)
    second, others, again = make(
        CONFIGS[form], models, view=view, by_perplexity=weighted, shard_rows=100
    )
    names = sorted(path.name for path in folder.glob("*.*"))
    assert names == sorted(path.name for path in again.glob("*.*"))
    for name in (name for name in names if name.endswith(".npy")):
        one, two = np.load(folder / name), np.load(again / name)
        assert one.dtype == two.dtype
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, two, rtol=2**-10, atol=1e-3)
        else:
            np.testing.assert_array_equal(one, two)
    assert {**counts, "seconds": 0} == pytest.approx({**others, "seconds": 0})
    assert type(first) is type(second)


@pytest.mark.parametrize("form", CONFIGS)
def test_two_equal_members_are_one(make, teacher, form):
    one, *_ = make(CONFIGS[form], (teacher,))
    two, *_ = make(CONFIGS[form], (teacher, teacher))
    if form is Form.HIDDEN:
        found, expected = (everything(stored).log_probs() for stored in (two, one))
        torch.testing.assert_close(found, expected)
    else:
        torch.testing.assert_close(*(spread(everything(stored)) for stored in (two, one)),
                                   rtol=0, atol=1e-3)  # fmt: skip


@pytest.mark.parametrize("form", [Form.TOPK, Form.HIDDEN])
def test_an_ensemble_is_the_mean_of_probabilities(make, teacher, other, encoded, hypotheses, form):
    stored, *_ = make(CONFIGS[form], (teacher, other))
    soft = everything(stored)
    found = soft.log_probs().exp() if form is Form.HIDDEN else spread(soft)
    expected = exact((teacher, other), encoded, hypotheses)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("form", [Form.TOPK, Form.HIDDEN])
@pytest.mark.parametrize("view", VIEWS)
def test_members_weigh_by_their_perplexity_on_the_reference(
    make, teacher, other, encoded, hypotheses, form, view
):
    stored, *_ = make(CONFIGS[form], (teacher, other), view=view, by_perplexity=True)
    models = [load_model(folder) for folder in (teacher, other)]
    rows, expected, preferred = sequences(encoded, hypotheses, view), [], 0
    for _, src, target, ref in rows:
        weights = torch.ones(2) / 2
        if len(ref) <= 12:
            of_ref = [probabilities(model, src, ref).gather(1, ref[:, None]) for model in models]
            perplexity = torch.stack([p.log().mean().neg().exp() for p in of_ref])
            weights = (1 / perplexity) / (1 / perplexity).sum()
            assert weights.argmax() == perplexity.argmin()
            preferred += int(weights.argmax())
        expected.append(sum(w * probabilities(model, src, target)
                            for w, model in zip(weights, models, strict=True)))  # fmt: skip
    assert 0 < preferred < len(rows)  # each is the better one somewhere
    soft = everything(stored)
    found = soft.log_probs().exp() if form is Form.HIDDEN else spread(soft)
    torch.testing.assert_close(found, torch.cat(expected).detach(), rtol=0, atol=1e-3)
    if form is Form.HIDDEN:
        totals = np.exp(stored.log_weights).sum(1)
        np.testing.assert_allclose(totals, 1, rtol=1e-6)


def test_counts_are_of_what_is_there(make, teacher):
    _, counts, folder = make(CONFIGS[Form.HIDDEN], (teacher,))
    assert (counts["pairs"], counts["quarantined"]) == (PAIRS - 1, 1)
    files = [path for path in folder.iterdir() if path.is_file()]
    assert counts["bytes"] == sum(path.stat().st_size for path in files)
    assert "kept_mass" not in counts
    assert len(list((folder / "shards").glob("*/output.safetensors"))) == 1


def test_a_shard_of_nothing_but_long_pairs_is_empty(make, teacher):
    for config in CONFIGS.values():
        stored, counts, _ = make(config, (teacher,), shard_rows=1)
        assert len(stored.pair_ids) == PAIRS - 1
        assert counts["quarantined"] == 1


def test_more_entries_than_the_vocabulary_are_refused(make, teacher):
    with pytest.raises(ConfigError, match=r"41 is more than the vocabulary of 40"):
        make(TopKConfig(k=41), (teacher,))
    check_k(TopKConfig(k=40), 40)
    check_k(SampledConfig(draws=200), 40)


def test_members_of_different_vocabularies_are_refused(make, teacher, new_teacher):
    stranger = new_teacher(seed=1, tokenizer="u")
    with pytest.raises(DataError, match="has the tokenizer u"):
        make(CONFIGS[Form.HIDDEN], (teacher, stranger))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"pairs": 3}, "their records say"), ({"quarantined": 5}, "must make up the 20")],
)
def test_shards_that_lack_pairs_are_not_joined(make, teacher, encoded, tmp_path, change, message):
    *_, folder = make(CONFIGS[Form.TOPK], (teacher,))
    path = folder / "shards" / "000001" / "record.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"counts": record["counts"] | change}))
    plan = ShardPlan.open(folder / "shards", rows=PAIRS, shard_rows=7)
    job = DistributionJob(own(teacher), at(encoded), None, CONFIGS[Form.TOPK])
    with pytest.raises(StageFailed, match=message):
        job.join(sharded.paths(plan), plan.counts(), tmp_path, sharded.fetch)
