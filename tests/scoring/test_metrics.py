"""Scores are sacrebleu's own; what it would get wrong, download or cut is refused before."""

import os
import socket

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU

from kdray.errors import ConfigError, DataError
from kdray.scoring.metrics import (
    DOWNLOADED_TOKENIZERS,
    LOCAL_TOKENIZERS,
    MECAB_TOKENIZERS,
    bleu_metric,
    check_tokenizer,
    score,
)

REFS = ["the cat sat on the mat .", "a dog barked at the moon .", "we saw three ships"]
HYPS = ["the cat sat on a mat .", "a dog barked at the moon .", "we saw ships"]

lines = st.lists(st.text(alphabet="abc de.", max_size=20), min_size=1, max_size=6)


def test_scores_are_those_of_sacrebleu():
    scores = score(HYPS, REFS, bleu_tokenize="13a")
    bleu = sacrebleu.corpus_bleu(HYPS, [REFS])
    assert scores.bleu == bleu.score
    assert scores.chrf == sacrebleu.corpus_chrf(HYPS, [REFS]).score
    assert scores.bleu_detail in str(bleu)
    assert "hyp_len = 17 ref_len = 18" in scores.bleu_detail


def test_a_translation_equal_to_its_reference_scores_100():
    scores = score(REFS, REFS, bleu_tokenize="13a")
    assert scores.bleu == pytest.approx(100)
    assert scores.chrf == pytest.approx(100)


def test_the_signature_tells_how_it_was_scored():
    plain = score(HYPS, REFS, bleu_tokenize="13a")
    characters = score(HYPS, REFS, bleu_tokenize="char")
    assert "tok:13a" in plain.bleu_signature
    assert sacrebleu.__version__ in plain.bleu_signature
    assert plain.bleu_signature != characters.bleu_signature
    assert plain.bleu != characters.bleu
    assert "nc:6" in plain.chrf_signature
    assert "nw:0" in plain.chrf_signature


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(lines)
def test_scores_stay_between_0_and_100_whatever_the_text(hyps):
    scores = score(hyps, list(reversed(hyps)), bleu_tokenize="none")
    assert 0 <= scores.bleu <= 100.001
    assert 0 <= scores.chrf <= 100.001


def test_empty_translations_score_nothing():
    scores = score(["", "", ""], REFS, bleu_tokenize="13a")
    assert scores.bleu == 0
    assert scores.chrf == 0


@pytest.mark.parametrize(("hyps", "refs"), [(HYPS[:2], REFS), (HYPS, REFS[:2]), ([], REFS)])
def test_one_translation_for_each_reference_or_none_at_all(hyps, refs):
    with pytest.raises(DataError, match=f"{len(hyps)} translations for {len(refs)} references"):
        score(hyps, refs, bleu_tokenize="13a")


def test_nothing_to_score_is_an_error():
    with pytest.raises(DataError, match="0 translations"):
        score([], [], bleu_tokenize="13a")


def test_every_tokenizer_of_sacrebleu_is_known_to_work_or_not():
    assert LOCAL_TOKENIZERS | DOWNLOADED_TOKENIZERS | MECAB_TOKENIZERS.keys() == {*BLEU.TOKENIZERS}


@pytest.mark.parametrize("name", sorted(LOCAL_TOKENIZERS))
def test_local_tokenizers_score_without_a_network(name, monkeypatch):
    def no_network(*_):
        raise AssertionError("a tokenizer went to the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    check_tokenizer(name)
    assert score(HYPS, REFS, bleu_tokenize=name).bleu > 0


@pytest.mark.parametrize(
    ("name", "ref", "hyp", "words"),
    [
        ("ja-mecab", "東京都に住んでいる友人が本を読んでいます。",
         "東京都に住んでいる友達が本を読んでいます。", "東京 都 に 住ん で いる"),
        ("ko-mecab", "나는 어제 학교에서 친구를 만나서 책을 읽었다.",
         "나는 어제 학교에서 친구를 만나서 책을 샀다.", "나 는 어제 학교 에서 친구 를"),
    ],
)  # fmt: skip
def test_japanese_and_korean_are_scored_by_words(name, ref, hyp, words):
    assert bleu_metric(name).tokenizer(ref).startswith(words)
    assert score([ref], [ref], bleu_tokenize=name).bleu == pytest.approx(100)
    by_words = score([hyp], [ref], bleu_tokenize=name)
    assert 30 < by_words.bleu < 95
    assert f"tok:{name}" in by_words.bleu_signature
    # 13a sees a Japanese sentence as one word or two
    assert by_words.bleu > score([hyp], [ref], bleu_tokenize="13a").bleu


@pytest.mark.parametrize("name", sorted(DOWNLOADED_TOKENIZERS))
def test_a_tokenizer_that_downloads_is_refused(name):
    with pytest.raises(ConfigError, match=r"downloads.*use one of 13a"):
        check_tokenizer(name)


def test_an_unknown_tokenizer_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"'13b'.*no such tokenizer.*13a, char.*intl"):
        score(HYPS, REFS, bleu_tokenize="13b")


def test_a_tokenizer_whose_package_is_missing_names_the_pip_command(monkeypatch):
    monkeypatch.setattr("kdray.scoring.metrics.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"MeCab is not installed.*pip install 'sacrebleu\[ja\]'"):
        check_tokenizer("ja-mecab")


def test_scoring_leaves_the_environment_alone():
    before = dict(os.environ)
    score(HYPS, REFS, bleu_tokenize="13a")
    assert dict(os.environ) == before
