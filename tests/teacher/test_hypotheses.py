"""Translations by an ensemble, in shards, and how they are read again."""

import numpy as np
import pyarrow as pa
import pytest

from kdray.config.signals import HypothesesConfig
from kdray.errors import DataError
from kdray.model.generate import SearchOptions, generate
from kdray.model.storage import load_model
from kdray.schema import Column, Split
from kdray.teacher.hypotheses import Hypotheses, HypothesisMaker, export_teacher, join_shards
from kdray.teacher.shards import ShardPlan
from kdray.text.encoded import EncodedSplit, encode_table
from kdray.text.sequences import write_table

OPTIONS = SearchOptions(beam=3, num_hyps=2)
CONFIG = HypothesesConfig(beam=3, num_hyps=2)


@pytest.fixture(scope="module")
def tokenizer(toy_tokenizers):
    return toy_tokenizers["separate"]


@pytest.fixture(scope="module")
def models(tokenizer, new_teacher):
    """Two teachers that never learned when to stop."""
    folders = tuple(
        new_teacher(
            seed=seed, width=width, tokenizer=tokenizer.checksum, src_vocab=tokenizer.src_vocab,
            vocab=tokenizer.tgt_vocab, shared=False,
        )
        for seed, width in ((1, 16), (2, 8))
    )  # fmt: skip
    for folder in folders:
        tokenizer.save(folder)
    return folders


@pytest.fixture(scope="module")
def toy_encoded(tokenizer, toy_pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    src, ref = (list(side) for side in zip(*toy_pairs[:12], strict=True))
    src[5] = " ".join(["ba"] * 20)  # longer than the positions
    table = pa.table({Column.PAIR_ID: range(100, 112), Column.SRC: src, Column.REF: ref})
    write_table(folder / f"{Split.TRAIN}.arrow", encode_table(table, tokenizer))
    return folder


@pytest.fixture
def made(models, toy_encoded, tmp_path):
    def make(folders, *, shard_rows=5, by_perplexity=False, exported=None, device="cpu"):
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        maker = HypothesisMaker(
            models=folders, exported=exported, encoded=toy_encoded, config=CONFIG, threads=1,
            by_perplexity=by_perplexity, device=device,
        )  # fmt: skip
        plan = ShardPlan.open(folder / "shards", rows=12, shard_rows=shard_rows)
        for index in plan.missing():
            plan.make(index, maker)
        counts = join_shards(plan, toy_encoded, folder)
        assert (counts["pairs"], counts["quarantined"]) == (11, 1)
        return folder

    return make


def described(folder):
    hyps = Hypotheses.load(folder, best_only=False)
    texts = hyps.texts(np.arange(len(hyps.ranks)))
    ids = [hyps.ids[row].tolist() for row in range(len(hyps.ranks))]
    return list(zip(hyps.pair_ids.tolist(), hyps.ranks.tolist(), ids, texts, strict=True))


def test_two_equal_members_translate_as_one_does(made, models, tmp_path):
    export_teacher(models[0], tmp_path / "exported")
    fast = made(models[:1], exported=tmp_path / "exported")
    assert described(made((models[0], models[0]))) == described(fast)


def test_pytorch_translates_on_other_devices_as_ctranslate2_does_on_a_cpu(made, models, tmp_path):
    export_teacher(models[0], tmp_path / "exported")
    one = made(models[:1], exported=tmp_path / "exported")
    assert described(made(models[:1], device="cpu:0")) == described(one)


def test_an_ensemble_translates_with_the_mean_of_its_members(made, models, toy_encoded, tokenizer):
    folder = made(models)
    train = EncodedSplit.load(toy_encoded, Split.TRAIN)
    rows = [row for row in range(12) if row != 5]
    src = [train.src[row].tolist() for row in rows]
    found = generate([load_model(m) for m in models], src, OPTIONS)
    expected = [
        (int(train.pair_ids[row]), rank, hyp.ids, tokenizer.decode_tgt([hyp.ids])[0])
        for row, hyps in zip(rows, found, strict=True)
        for rank, hyp in enumerate(hyps)
    ]
    assert described(folder) == expected
    assert described(made(models, shard_rows=100)) == expected


def test_weights_by_perplexity_reach_the_search(made, models):
    assert described(made(models, by_perplexity=True)) != described(made(models))
    twice = (models[0], models[0])
    assert described(made(twice, by_perplexity=True)) == described(made(twice))


def test_the_best_or_all_are_read(hypotheses):
    everything = Hypotheses.load(hypotheses, best_only=False)
    best = Hypotheses.load(hypotheses)
    rows = np.flatnonzero(everything.ranks == 0)
    assert len(rows) * 2 == len(everything.ranks)
    assert best.pair_ids.tolist() == everything.pair_ids[rows].tolist()
    assert best.finished.tolist() == everything.finished[rows].tolist()
    assert not best.ranks.any()
    for row, place in enumerate(rows):
        assert best.ids[row].tolist() == everything.ids[place].tolist()
    some = np.array([4, 0, 2])
    assert best.texts(some) == [f"{i} 0" for i in best.pair_ids[some]]
    assert everything.texts(some + 1)[0].endswith(" 1")


def test_members_of_different_vocabularies_are_refused(models, toy_encoded, teacher):
    with pytest.raises(DataError, match="has the tokenizer t"):
        HypothesisMaker(
            models=(models[0], teacher), exported=None, encoded=toy_encoded, config=CONFIG,
            threads=1,
        )  # fmt: skip
