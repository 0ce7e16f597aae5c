"""The hypotheses that are learned are the ones that sacrebleu says, one comparison at a time."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu import sentence_bleu, sentence_chrf
from sharded import ENCODED, at, fetch, make, paths

from kdray.config.methods.interpolation import InterpolationConfig
from kdray.config.methods.multi_hypothesis import MultiHypothesisConfig
from kdray.errors import DataError, StageFailed
from kdray.schema import Column
from kdray.teacher.hypotheses import FILE, Hypotheses
from kdray.teacher.selection import Candidates, SelectionJob, closest, least_risk
from kdray.teacher.similarity import similarity
from kdray.text.pairing import source_hashes
from kdray.text.sequences import write_table

NAMES = ["bleu", "chrf"]
WORDS = ["ein", "Hund", "rennt,", "sieht", "die", "Katze.", "(rot)", "3.5", "über", "日本", " ."]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=7).map(" ".join)
REFS = {3: "ein Hund rennt", 9: "die Katze sieht den Hund", 4: "rot ist die Katze", 7: "x"}
HYPS = {  # texts in rank order; a * marks those that did not end
    3: ["ein Hund sieht", "ein Hund rennt*", "der Hund rennt", "ein Hund sieht"],
    9: ["die Katze", "die Katze sieht den Hund", "Katze"],
    4: ["rot*", "rot ist die*"],
    7: ["y"],
}
INTERPOLATION = {"kind": "interpolation", "similarity": "chrf"}
MULTI = {"kind": "multi_hypothesis", "similarity": "chrf"}


def one(name, hyp, ref):
    """sacrebleu's own score of one translation."""
    if name == "chrf":
        return sentence_chrf(hyp, [ref]).score
    return sentence_bleu(hyp, [ref], smooth_method="exp", use_effective_order=True).score


def best_first(scores, places):
    """Highest score first; of equals the lower place."""
    return sorted(places, key=lambda place: (-round(scores[place], 9), place))


@st.composite
def candidates(draw):
    texts = draw(st.lists(TEXTS, min_size=1, max_size=5))
    texts += draw(st.lists(st.sampled_from(texts), max_size=2))
    flags = st.lists(st.booleans(), min_size=len(texts), max_size=len(texts))
    return Candidates(texts, draw(flags))


def eligible(hyps):
    finished = [place for place, flag in enumerate(hyps.finished) if flag]
    return finished or list(range(len(hyps.texts)))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@given(texts=st.lists(TEXTS, min_size=1, max_size=4), ref=TEXTS)
def test_similarity_is_sacrebleus(name, texts, ref):
    measure = similarity(name)
    assert measure.to(ref, texts).tolist() == [one(name, text, ref) for text in texts]
    assert measure.among(texts).tolist() == [[one(name, hyp, r) for r in texts] for hyp in texts]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@given(hyps=candidates(), ref=TEXTS)
@settings(max_examples=25)
def test_the_closest_is_found_by_comparing_all(name, hyps, ref):
    scores = [one(name, text, ref) for text in hyps.texts]
    expected = best_first(scores, eligible(hyps))[0]
    assert closest(hyps, ref, similarity(name)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@given(hyps=candidates(), n=st.integers(1, 4))
@settings(max_examples=25)
def test_least_risk_is_found_by_comparing_all_with_all(name, hyps, n):
    risk = [np.mean([one(name, text, other) for other in hyps.texts]) for text in hyps.texts]
    expected = best_first(risk, eligible(hyps))[:n]
    assert least_risk(hyps, n, similarity(name)) == expected


def test_of_equals_the_better_rank_is_chosen():
    hyps = Candidates(["b a", "a b", "a b", "b a"], [True] * 4)
    assert closest(hyps, "a b", similarity("bleu")) == 1
    assert least_risk(hyps, 4, similarity("bleu")) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", NAMES)
def test_a_small_difference_decides(name):
    """Between long texts that differ in a word it is less than one point."""
    middle = [f"w{i}x{i * i}" for i in range(60)]
    texts = [" ".join([*middle[:i], "anders", *middle[i + 1 :]]) for i in (30, 0)]
    hyps = Candidates([*texts, " ".join(middle)], [True] * 3)
    means = [np.mean([one(name, text, other) for other in hyps.texts]) for text in hyps.texts]
    assert max(means) - min(means) < 4
    assert abs(means[0] - means[1]) < 1
    found = least_risk(hyps, 3, similarity(name))
    assert found == best_first(means, range(3))
    assert found.index(1) < found.index(0)


def test_a_text_that_stands_twice_counts_twice():
    """One outlier against a pair of near-equals; doubled, the outlier wins."""
    texts = ["ein Hund rennt", "die Katze", "ein Hund sieht"]
    alone = Candidates(texts, [True] * 3)
    assert least_risk(alone, 1, similarity("chrf")) != [1]
    thrice = Candidates([*texts, *["die Katze"] * 3], [True] * 6)
    assert least_risk(thrice, 2, similarity("chrf")) == [1, 3]


def test_unfinished_ones_are_evidence_but_not_chosen():
    """The unfinished agree with the second finished one."""
    texts = ["x y z", "ein Hund", "ein Hund rennt", "ein Hund sieht"]
    hyps = Candidates(texts, [True, True, False, False])
    assert least_risk(hyps, 3, similarity("chrf")) == [1, 0]
    assert closest(hyps, "ein Hund rennt", similarity("chrf")) == 1
    none = Candidates(texts, [False] * 4)
    assert closest(none, "ein Hund rennt", similarity("chrf")) == 2


@pytest.fixture
def hypotheses(tmp_path):
    rows = [(i, rank, text) for i, texts in HYPS.items() for rank, text in enumerate(texts)]
    columns = {
        Column.PAIR_ID: pa.array([i for i, *_ in rows], pa.int64()),
        Column.SRC_HASH: pa.array(source_hashes("s" for _ in rows)),
        Column.HYP_RANK: pa.array([rank for _, rank, _ in rows], pa.int32()),
        Column.HYP: pa.array([text.removesuffix("*") for *_, text in rows], pa.large_string()),
        Column.HYP_IDS: pa.array([[i, r, 3] for i, r, _ in rows], pa.list_(pa.uint16())),
        Column.HYP_SCORE: pa.array([-float(rank) for _, rank, _ in rows], pa.float32()),
        Column.FINISHED: pa.array([not text.endswith("*") for *_, text in rows], pa.bool_()),
    }
    folder = tmp_path / "hypotheses"
    folder.mkdir()
    write_table(folder / FILE, pa.table(columns))
    return folder


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    refs = dict(sorted(REFS.items()))
    columns = {Column.PAIR_ID: list(refs), Column.SRC: ["s"] * 4, Column.REF: list(refs.values())}
    pq.write_table(pa.table(columns), folder / "train.parquet")
    return folder


def chosen(tmp_path, hypotheses, corpus, config, *, shard_rows):
    folder = tmp_path / f"of {shard_rows}"
    job = SelectionJob(at(hypotheses), at(corpus), config, ENCODED)
    plan, counts = make(job, folder, shard_rows=shard_rows)
    return Hypotheses.load(folder, best_only=False), counts, plan


@pytest.mark.parametrize("shard_rows", [1, 3, 100])
def test_the_closest_alone_is_stored(tmp_path, hypotheses, corpus, shard_rows):
    config = InterpolationConfig(**INTERPOLATION)
    found, counts, _ = chosen(tmp_path, hypotheses, corpus, config, shard_rows=shard_rows)
    assert found.pair_ids.tolist() == list(HYPS)
    assert found.ranks.tolist() == [0] * 4
    texts = ["der Hund rennt", "die Katze sieht den Hund", "rot ist die", "y"]
    assert found.texts(np.arange(4)) == texts
    assert [found.ids[row].tolist()[1] for row in range(4)] == [2, 1, 1, 0]
    assert found.finished.tolist() == [True, True, False, True]
    del counts["seconds"]
    assert counts == {
        "pairs": 4, "translations": 4, "tokens": 12, "unfinished": 1, "not_the_best": 3,
    }  # fmt: skip


@pytest.mark.parametrize("shard_rows", [1, 3, 100])
def test_those_of_least_risk_are_ranked_anew(tmp_path, hypotheses, corpus, shard_rows):
    config = MultiHypothesisConfig(**MULTI, n=2)
    found, counts, _ = chosen(tmp_path, hypotheses, corpus, config, shard_rows=shard_rows)
    assert found.pair_ids.tolist() == [3, 3, 9, 9, 4, 4, 7]
    assert found.ranks.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert found.texts(np.arange(2)) == ["ein Hund sieht", "ein Hund sieht"]
    expected = []
    for texts in HYPS.values():
        hyps = Candidates([t.removesuffix("*") for t in texts], [t[-1] != "*" for t in texts])
        expected += least_risk(hyps, 2, similarity("chrf"))
    assert [found.ids[row].tolist()[1] for row in range(7)] == expected
    assert counts["translations"] == 7


def test_only_the_first_n_are_looked_at(tmp_path, hypotheses, corpus):
    config = InterpolationConfig(**INTERPOLATION, n=1)
    found, counts, _ = chosen(tmp_path, hypotheses, corpus, config, shard_rows=2)
    assert [found.ids[row].tolist()[1] for row in range(4)] == [0, 0, 0, 0]
    assert counts["not_the_best"] == 0
    config = MultiHypothesisConfig(**MULTI, n=2, candidates=2)
    found, *_ = chosen(tmp_path, hypotheses, corpus, config, shard_rows=3)
    assert found.pair_ids.tolist() == [3, 9, 9, 4, 4, 7]


def test_a_pair_that_the_corpus_lacks_is_an_error(tmp_path, hypotheses, corpus):
    table = pq.read_table(corpus / "train.parquet").slice(0, 2)
    pq.write_table(table, corpus / "train.parquet")
    job = SelectionJob(at(hypotheses), at(corpus), InterpolationConfig(**INTERPOLATION), ENCODED)
    with pytest.raises(DataError, match="4 translations are of pairs"):
        job.builder(tmp_path, fetch, device="cpu")


def test_shards_that_lack_pairs_are_not_joined(tmp_path, hypotheses, corpus):
    config = InterpolationConfig(**INTERPOLATION)
    *_, plan = chosen(tmp_path, hypotheses, corpus, config, shard_rows=1)
    job = SelectionJob(at(hypotheses), at(corpus), config, ENCODED)
    with pytest.raises(StageFailed, match="there are 3 shards, and not as many as the pairs"):
        job.join(paths(plan)[:3], plan.counts()[:3], tmp_path, fetch)
