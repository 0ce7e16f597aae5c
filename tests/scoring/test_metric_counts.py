"""Scores of many sums at once are sacrebleu's own, for every tokenizer that needs no download."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics.chrf import CHRF

from kdray.errors import ConfigError, DataError
from kdray.scoring.counts import bleu_counter, chrf_counter, mean_of_segments
from kdray.scoring.metrics import LOCAL_TOKENIZERS, bleu_metric
from kdray.statistics.resampling import Resamples

SENTENCES = [
    "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.",
    "Ein kleines Mädchen klettert in ein Spielhaus aus Holz, das 3,5 m hoch ist.",
    "The U.S. dollar fell by 1.5% (to $0.98) on Monday - its lowest since 2019!",
    "一个穿着蓝色衬衫的男人站在梯子上清洗窗户。",
    "رجل يرتدي قميصا أزرق يقف على سلم لتنظيف النافذة",
    "Deux hommes s'affairent aux fourneaux : ils préparent à manger, n'est-ce pas ?",
    "Oui.",
    "&quot;Well-known&quot; co-operation, they said, isn't over… yet",
]
text = st.one_of(
    st.text(alphabet="ab c.,'-1", max_size=30),
    st.text(max_size=12),
    st.sampled_from(SENTENCES),
    st.lists(st.sampled_from(" ".join(SENTENCES).split()), max_size=12).map(" ".join),
)
corpora = st.lists(st.tuples(text, text), min_size=1, max_size=6)


def metric_and_counter(name, refs):
    if name == "chrf":
        return CHRF(), chrf_counter(refs)
    return bleu_metric(name), bleu_counter(refs, bleu_tokenize=name)


def damaged(rng, sentence):
    words = [word for word in sentence.split() if rng.random() > 0.15]
    return " ".join(rng.choice(["der", "the"]) if rng.random() < 0.15 else word for word in words)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chrf", *sorted(LOCAL_TOKENIZERS)])
@given(corpus=corpora)
def test_scores_of_the_whole_and_of_every_segment_are_sacrebleus(name, corpus):
    hyps, refs = [list(side) for side in zip(*corpus, strict=True)]
    metric, counter = metric_and_counter(name, refs)
    segments = counter.count(hyps)
    whole = segments.score(segments.counts.sum(axis=0))
    assert whole == pytest.approx(metric.corpus_score(hyps, [refs]).score, abs=1e-9)
    singles = [metric.corpus_score([hyp], [[ref]]).score for hyp, ref in corpus]
    assert segments.score(segments.counts) == pytest.approx(singles, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chrf", "13a", "zh"])
def test_a_resampled_score_is_that_of_the_resampled_lines(name):
    rng = random.Random(5)
    refs = [rng.choice(SENTENCES) for _ in range(40)]
    hyps = [damaged(rng, ref) for ref in refs]
    metric, counter = metric_and_counter(name, refs)
    resamples = Resamples.draw(40, 20)
    score = resamples.score(counter.count(hyps))
    drawn = np.random.default_rng(12345).choice(40, size=(20, 40), replace=True)
    expected = [
        metric.corpus_score([hyps[i] for i in rows], [[refs[i] for i in rows]]).score
        for rows in drawn
    ]
    assert score.resampled == pytest.approx(expected, abs=1e-9)
    assert score.observed == pytest.approx(metric.corpus_score(hyps, [refs]).score, abs=1e-9)


def test_an_outside_metric_is_the_mean_over_the_lines_that_are_drawn():
    values = [0.25, -1.0, 0.75, 3.5]
    drawn = np.random.default_rng(12345).choice(4, size=(10, 4), replace=True)
    score = Resamples.draw(4, 10).score(mean_of_segments(values))
    assert score.observed == pytest.approx(np.mean(values))
    assert score.resampled == pytest.approx(np.asarray(values)[drawn].mean(axis=1))


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="1 translations for 2 references"):
        chrf_counter(["a", "b"]).count(["a"])
    with pytest.raises(ConfigError, match="flores200"):
        bleu_counter(["a"], bleu_tokenize="flores200")
    with pytest.raises(DataError, match="segment 1 has nan"):
        mean_of_segments([0.5, float("nan")])
    with pytest.raises(DataError, match="at least one"):
        mean_of_segments([])
    with pytest.raises(DataError, match="3 segments, but 2 are drawn"):
        Resamples.draw(2, 5).score(mean_of_segments([1, 2, 3]))
    with pytest.raises(DataError, match="0 segments"):
        Resamples.draw(0, 5)
