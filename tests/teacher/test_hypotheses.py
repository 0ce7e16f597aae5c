"""Translations by an ensemble, in shards, and how they are read again."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sharded import ENCODED, at, fetch, make, own, paths

from kdray.config.signals import HypothesesConfig
from kdray.errors import DataError, StageFailed
from kdray.model.ctranslate2 import FastTranslator
from kdray.model.generate import SearchOptions, generate
from kdray.model.storage import load_model
from kdray.schema import Column, Split
from kdray.teacher.hypotheses import FILE, Hypotheses, RecodingJob, TranslationJob, read_rows
from kdray.text.sequences import read_table

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
def toy_corpus_folder(toy_pairs, tmp_path_factory):
    """Twelve pairs in row groups of five."""
    folder = tmp_path_factory.mktemp("toy")
    src, ref = (list(side) for side in zip(*toy_pairs[:12], strict=True))
    src[5] = " ".join(["ba"] * 20)  # longer than the positions
    table = pa.table({Column.PAIR_ID: range(100, 112), Column.SRC: src, Column.REF: ref})
    pq.write_table(table, folder / f"{Split.TRAIN}.parquet", row_group_size=5)
    return folder


@pytest.fixture
def made(toy_corpus_folder, tmp_path):
    def made_by(teacher, *, shard_rows=5, device="cpu"):
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        job = TranslationJob(teacher, at(toy_corpus_folder), CONFIG, ENCODED)
        _, counts = make(job, folder, shard_rows=shard_rows, device=device)
        assert (counts["pairs"], counts["quarantined"]) == (11, 1)
        return folder

    return made_by


def described(folder):
    hyps = Hypotheses.load(folder, best_only=False)
    texts = hyps.texts(np.arange(len(hyps.ranks)))
    ids = [hyps.ids[row].tolist() for row in range(len(hyps.ranks))]
    return list(zip(hyps.pair_ids.tolist(), hyps.ranks.tolist(), ids, texts, strict=True))


def test_two_equal_members_translate_as_one_does(made, models):
    assert described(made(own(models[0], models[0]))) == described(made(own(models[0])))


def test_one_model_is_exported_once_for_all_processes_on_a_cpu(models, tmp_path):
    one, two = own(models[0]), own(*models)
    for teacher, device in ((one, "cuda"), (two, "cpu")):
        teacher.prepare(tmp_path, fetch, device=device)
        assert not list(tmp_path.iterdir())
    one.prepare(tmp_path, fetch, device="cpu")
    (exported,) = tmp_path.iterdir()
    written = (exported / "model.bin").stat().st_mtime_ns
    one.prepare(tmp_path, fetch, device="cpu")
    assert (exported / "model.bin").stat().st_mtime_ns == written
    engine = one.open(fetch, device="cpu", threads=1, work=tmp_path)
    assert isinstance(engine.backend, FastTranslator)


def test_pytorch_translates_on_other_devices_as_ctranslate2_does_on_a_cpu(made, models):
    one = own(models[0])
    assert described(made(one, device="cpu:0")) == described(made(one))


def test_an_ensemble_translates_with_the_mean_of_its_members(
    made, models, toy_corpus_folder, tokenizer
):
    folder = made(own(*models))
    train = pq.read_table(toy_corpus_folder / "train.parquet").to_pylist()
    pairs = [pair for row, pair in enumerate(train) if row != 5]
    src = tokenizer.encode_src([pair[Column.SRC] for pair in pairs])
    found = generate([load_model(m) for m in models], src, OPTIONS)
    expected = [
        (pair[Column.PAIR_ID], rank, hyp.ids, tokenizer.decode_tgt([hyp.ids])[0])
        for pair, hyps in zip(pairs, found, strict=True)
        for rank, hyp in enumerate(hyps)
    ]
    assert described(folder) == expected
    assert described(made(own(*models), shard_rows=100)) == expected


def test_weights_by_perplexity_reach_the_search(made, models):
    weighted = described(made(own(*models, weights="perplexity")))
    assert weighted != described(made(own(*models)))
    twice = (models[0], models[0])
    assert described(made(own(*twice, weights="perplexity"))) == described(made(own(*twice)))


def test_without_references_members_weigh_alike(models, toy_pairs):
    src = [src for src, _ in toy_pairs[:4]]
    translations = [
        own(*models, weights=weights).open(fetch, device="cpu", threads=1).translate(src, OPTIONS)
        for weights in ("uniform", "perplexity")
    ]
    assert translations[0] == translations[1]


def test_translations_that_lack_pairs_are_not_joined(models, toy_corpus_folder, tmp_path):
    job = TranslationJob(own(models[0]), at(toy_corpus_folder), CONFIG, ENCODED)
    plan, _ = make(job, tmp_path, shard_rows=5)
    with pytest.raises(StageFailed, match="of 9 pairs and 1 in quarantine do not"):
        job.join(paths(plan)[:2], plan.counts()[:2], tmp_path, fetch)
    with pytest.raises(
        StageFailed, match="do not make up the 12 that there must be, in their order"
    ):
        job.join(paths(plan)[::-1], plan.counts(), tmp_path, fetch)


def test_rows_are_those_of_the_whole_table(tmp_path):
    table = pa.table({"n": range(11)})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=4)
    for start in range(11):
        for stop in range(start + 1, 12):
            rows = read_rows(tmp_path / "t.parquet", start, stop)
            assert rows["n"].to_pylist() == list(range(start, stop))


def test_recoded_translations_are_the_same_texts_in_other_pieces(
    made, models, toy_tokenizers, tmp_path
):
    stored, other = made(own(models[0])), toy_tokenizers["joint"]
    pieces, folder = tmp_path / "pieces", tmp_path / "recoded"
    pieces.mkdir()
    folder.mkdir()
    other.save(pieces)
    counts = RecodingJob(at(stored), at(pieces), ENCODED).make(folder, fetch, threads=1)
    before, after = described(stored), described(folder)
    assert [row[:2] + row[3:] for row in before] == [row[:2] + row[3:] for row in after]
    assert [row[2] for row in after] == other.encode_tgt([row[3] for row in after])
    assert counts == {
        "translations": len(after), "tokens": sum(len(row[2]) for row in after),
    }  # fmt: skip
    assert read_table(folder / FILE).schema == read_table(stored / FILE).schema


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


def test_members_of_different_vocabularies_are_refused(models, teacher):
    with pytest.raises(DataError, match="has the tokenizer t"):
        own(models[0], teacher).open(fetch, device="cpu", threads=1)
