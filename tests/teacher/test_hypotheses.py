"""Translations in shards: by beam and drawn, in quarantine, continued, and how they are read."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharded import ENCODED, at, fetch, make, own, paths

from kdray.artifacts import Key
from kdray.config.signals import HypothesesConfig
from kdray.errors import ConfigError, DataError, KdrayError, StageFailed
from kdray.model import memory
from kdray.model.ctranslate2 import FastTranslator
from kdray.model.generate import SearchOptions, generate
from kdray.model.storage import load_model
from kdray.schema import Column, Split
from kdray.teacher.earlier import note_earlier
from kdray.teacher.engine import Teacher, Translation
from kdray.teacher.hypotheses import Hypotheses, RecodingJob, in_parts, read_rows, read_translations
from kdray.teacher.quarantine import FILE as QUARANTINE
from kdray.teacher.shards import ShardPlan
from kdray.teacher.translation import TranslationJob, check_modes

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_pytorch_translates_on_other_devices_as_ctranslate2_does_on_a_cpu(made, models):
    one = own(models[0])
    assert described(made(one, device="cpu:0")) == described(made(one))


@pytest.mark.slow
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


@pytest.mark.slow
def test_weights_by_perplexity_reach_the_search(made, models):
    weighted = described(made(own(*models, weights="perplexity")))
    assert weighted != described(made(own(*models)))
    twice = (models[0], models[0])
    assert described(made(own(*twice, weights="perplexity"))) == described(made(own(*twice)))


@pytest.mark.slow
def test_without_references_members_weigh_alike(models, toy_pairs):
    src = [src for src, _ in toy_pairs[:4]]
    translations = [
        own(*models, weights=weights).open(fetch, device="cpu", threads=1).translate(src, OPTIONS)
        for weights in ("uniform", "perplexity")
    ]
    assert translations[0] == translations[1]


@pytest.mark.slow
def test_translations_that_lack_pairs_are_not_joined(models, toy_corpus_folder, tmp_path):
    job = TranslationJob(own(models[0]), at(toy_corpus_folder), CONFIG, ENCODED)
    plan, _ = make(job, tmp_path, shard_rows=5)
    joined = [tmp_path / "joined" / name for name in "abc"]
    for folder in joined:
        folder.mkdir(parents=True)
    with pytest.raises(StageFailed, match="there are 2 shards, and not as many as the pairs"):
        job.join(paths(plan)[:2], plan.counts()[:2], joined[0], fetch)
    with pytest.raises(StageFailed, match="do not make up the 2 that there must be, in their"):
        job.join(paths(plan)[::-1], plan.counts()[::-1], joined[1], fetch)
    with pytest.raises(StageFailed, match="translations of 5 pairs and 0 in quarantine do not"):
        job.join(paths(plan), plan.counts()[::-1], joined[2], fetch)


@given(
    sizes=st.lists(st.integers(0, 4), max_size=6), batches=st.lists(st.integers(1, 5), max_size=6)
)
def test_parts_are_the_batches_cut_anew(sizes, batches):
    rows = np.arange(sum(batches))
    parts = list(in_parts(np.split(rows, np.cumsum(batches)[:-1]) if batches else [], sizes))
    assert np.concatenate([[], *parts[: len(sizes)]]).tolist() == rows[: sum(sizes)].tolist()
    assert [len(part) for part in parts[len(sizes) :]] == (
        [len(rows) - sum(sizes)] if len(rows) > sum(sizes) else []
    )


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
    assert read_translations(folder).schema == read_translations(stored).schema


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


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [16, 40, 100_000])
def test_neither_shards_nor_batches_change_a_row(made, models, monkeypatch, tokens):
    expected = described(made(own(models[0]), shard_rows=100))
    monkeypatch.setattr(memory, "_tokens", tokens)
    assert described(made(own(models[0]), shard_rows=3)) == expected
    assert described(made(own(models[0]), shard_rows=3, device="cpu:0")) == expected


DRAWN = HypothesesConfig(num_hyps=3, sampling={"temperature": 0.8, "top_k": 9, "top_p": 0.9})


@pytest.mark.slow
def test_draws_are_seeded_by_pair(models, toy_corpus_folder, tmp_path, monkeypatch):
    """Whatever the shards and batches are, and whichever other pairs there are."""
    job = TranslationJob(own(models[0]), at(toy_corpus_folder), DRAWN, ENCODED)
    make(job, tmp_path / "a", shard_rows=100)
    monkeypatch.setattr(memory, "_tokens", 16)
    make(job, tmp_path / "b", shard_rows=3)
    rows = described(tmp_path / "a")
    assert described(tmp_path / "b") == rows
    assert [rank for _, rank, *_ in rows] == [0, 1, 2] * 11
    assert len({tuple(ids) for *_, ids, _ in rows}) > 25
    half = tmp_path / "half"
    half.mkdir()
    table = pq.read_table(toy_corpus_folder / "train.parquet").slice(6)
    pq.write_table(table, half / "train.parquet")
    make(TranslationJob(own(models[0]), at(half), DRAWN, ENCODED), tmp_path / "c", shard_rows=100)
    assert described(tmp_path / "c") == [row for row in rows if row[0] >= 106]


def test_what_is_not_asked_for_is_no_part_of_a_fingerprint():
    plain = {"beam": 5, "num_hyps": 1, "length_penalty": 1.0, "max_length_ratio": 2.0}
    assert HypothesesConfig().identity() == {**plain, "max_length_slack": 10}
    assert HypothesesConfig(prefix="x", no_repeat_ngram=3).identity()["no_repeat_ngram"] == 3
    assert "beam" not in DRAWN.identity()
    assert DRAWN.identity()["sampling"]["seed"] == 1


@pytest.mark.slow
def test_a_prefix_is_taken_off_again(models, tokenizer, toy_corpus_folder, tmp_path):
    config = HypothesesConfig(beam=2, prefix="ba")
    make(TranslationJob(own(models[0]), at(toy_corpus_folder), config, ENCODED), tmp_path,
         shard_rows=5)  # fmt: skip
    src = pq.read_table(toy_corpus_folder / "train.parquet")["src"].to_pylist()
    ids, prefix = tokenizer.encode_src(src), tokenizer.encode_tgt(["ba"])[0][:-1]
    some = [row for row in range(12) if row != 5]
    found = generate(
        load_model(models[0]), [ids[row] for row in some], SearchOptions(beam=2),
        prefixes=[prefix] * 11,
    )  # fmt: skip
    expected = [best[0].ids[len(prefix) :] for best in found]
    assert [ids for _, _, ids, _ in described(tmp_path)] == expected


class Lines(Teacher):
    """A teacher that knows text alone, and fails with what it is told to."""

    fingerprints = ("lines",)
    positions = vocabulary = None

    def __init__(self, fail):
        self.fail, self.seen = fail, []

    def open(self, fetch, *, device, threads, work=None):
        return self

    def translate(self, src, options, refs=None):
        self.seen.append((len(src), memory.tokens_per_batch()))
        self.fail(src)
        return [[Translation(line.upper(), -1.0, finished=True)] for line in src]


def fails_with(*bad, error):
    def fail(src):
        if set(src) & set(bad):
            raise error

    return fail


@pytest.fixture
def forty(tmp_path):
    folder = tmp_path / "forty"
    folder.mkdir()
    table = pa.table({"pair_id": range(40), "src": [f"line {n}" for n in range(40)],
                      "ref": [f"ref {n}" for n in range(40)]})  # fmt: skip
    pq.write_table(table, folder / "train.parquet")
    return folder


def test_a_poisonous_row_goes_to_quarantine_with_its_reason_and_its_text(forty, tmp_path):
    teacher = Lines(fails_with("line 17", error=ValueError("bad\nline")))
    job = TranslationJob(teacher, at(forty), HypothesesConfig(), ENCODED)
    _, counts = make(job, tmp_path / "made", shard_rows=20)
    assert (counts["pairs"], counts["quarantined"]) == (39, 1)
    (kept,) = (tmp_path / "made" / QUARANTINE).read_text().splitlines()
    assert json.loads(kept) == {"pair_id": 17, "reason": "bad line", "src": "line 17"}
    rows = read_translations(tmp_path / "made")[Column.PAIR_ID].to_pylist()
    assert rows == [n for n in range(40) if n != 17]
    assert len(teacher.seen) < 14  # 20 are halved until one is left


@pytest.mark.parametrize(
    ("fail", "told"),
    [
        (fails_with(*(f"line {n}" for n in range(40)), error=ValueError("broken")),
         "failed with 2 of 20 sources .* broken; so many rows are not put into quarantine"),
        (lambda src: src.append("one more"), "gave translations of 21 sources when it"),
    ],
)  # fmt: skip
def test_a_teacher_that_fails_everywhere_is_no_row_s_fault(forty, tmp_path, fail, told):
    job = TranslationJob(Lines(fail), at(forty), HypothesesConfig(), ENCODED)
    with pytest.raises(KdrayError, match=told):
        make(job, tmp_path / "made", shard_rows=20)


def test_other_ways_to_translate_are_refused_where_a_teacher_has_them_not():
    for mode in ({"sampling": {}}, {"prefix": "x"}, {"no_repeat_ngram": 3}):
        (name,) = mode
        with pytest.raises(ConfigError, match=f"hypotheses.{name}: this teacher cannot do that"):
            check_modes(HypothesesConfig(**mode), Lines(None))
    with pytest.raises(ConfigError, match="weighs by perplexity cannot go on"):
        check_modes(HypothesesConfig(prefix="x"), own(*map(Path, "ab"), weights="perplexity"))


@pytest.mark.slow
def test_new_rows_of_a_corpus_decode_only_themselves(forty, tmp_path):
    """The rows of a corpus that grew are those of one that was decoded whole."""
    grown = tmp_path / "grown"
    grown.mkdir()
    table = pq.read_table(forty / "train.parquet")
    more = pa.table({"pair_id": range(90, 95), "src": ["line 3", "a", "b", "line 9", "c"],
                     "ref": ["r"] * 5})  # fmt: skip
    pq.write_table(pa.concat_tables([table.slice(10), more]), grown / "train.parquet")

    teacher = Lines(lambda src: None)
    old = tmp_path / "old"
    make(TranslationJob(teacher, at(forty), HypothesesConfig(), ENCODED), old, shard_rows=7)
    job = TranslationJob(teacher, at(grown), HypothesesConfig(), ENCODED)
    make(job, tmp_path / "whole", shard_rows=100)
    work, joined = tmp_path / "work", tmp_path / "joined"
    joined.mkdir()
    note_earlier(work, [Key("hypotheses", 2, {"which": "old"})])

    def found(source):
        return old if isinstance(source, Key) else source.path

    plan = ShardPlan.open(work / "shards", rows=35, shard_rows=8)
    teacher.seen.clear()
    for index in plan.missing():
        plan.make(index, job.builder(work, found, device="cpu"))
    counts = job.join(plan.finished(), plan.counts(), joined, found)
    assert read_translations(joined).equals(read_translations(tmp_path / "whole"))
    assert (counts["pairs"], counts["reused"]) == (35, 32)
    assert sum(lines for lines, _ in teacher.seen) == 3


@pytest.mark.slow
def test_draws_are_the_same_whatever_lies_in_the_storage(models, toy_corpus_folder, tmp_path):
    """A source that stands in the corpus twice has draws for each of its pairs."""
    table = pq.read_table(toy_corpus_folder / "train.parquet")
    twice = table.slice(0, 4).set_column(0, Column.PAIR_ID, pa.array(range(200, 204)))
    grown = tmp_path / "grown"
    grown.mkdir()
    pq.write_table(pa.concat_tables([table, twice]), grown / "train.parquet")
    teacher, old = own(models[0]), tmp_path / "old"
    earlier = TranslationJob(teacher, at(toy_corpus_folder), DRAWN, Key("encoded", 1, {"n": 1}))
    job = TranslationJob(teacher, at(grown), DRAWN, ENCODED)
    make(earlier, old, shard_rows=100)
    contents = [earlier.key.content()]
    note_earlier(tmp_path / "work", [Key("hypotheses", **c) for c in contents if job.continues(c)])
    (tmp_path / "alone").mkdir()

    def found(source):
        return old if source == earlier.key else fetch(source)

    def made(work):
        job.prepare(work, found, device="cpu")
        job.builder(work, found, device="cpu")(0, 16, work)
        return read_translations(work).to_pylist()

    assert made(tmp_path / "work") == made(tmp_path / "alone")


def test_only_the_same_teacher_s_translations_of_another_corpus_are_taken(forty):
    def job(corpus, teacher="lines", **config):
        lines = Lines(None)
        lines.fingerprints = (teacher,)
        return TranslationJob(lines, Key("corpus", 1, {"n": corpus}), HypothesesConfig(**config),
                              ENCODED)  # fmt: skip

    new = job(2)
    assert new.continues(job(1).key.content())
    for other in (job(2), job(1, teacher="others"), job(1, beam=4), job(1, max_length_slack=9)):
        assert not new.continues(other.key.content())


@pytest.mark.parametrize("new", ["corpus", "noise", "added", "sentences"])
@pytest.mark.parametrize("old", ["corpus", "noise", "added", "sentences"])
def test_translations_are_taken_whatever_made_the_corpora(old, new):
    """Of a teacher that knows text alone, which reads the corpus itself."""

    def job(stage, n, fail=None):
        return TranslationJob(Lines(fail), Key(stage, 1, {"n": n}), HypothesesConfig(), ENCODED)

    assert job(new, 2).continues(job(old, 1).key.content())
    others = job(old, 1)
    others.teacher.fingerprints = ("others",)
    assert not job(new, 2).continues(others.key.content())
