"""The exported model gives the same translations as the model, token for token."""

import pytest
import torch

from kdray.model import memory
from kdray.model.ctranslate2 import FastTranslator, export
from kdray.model.generate import SearchOptions, generate

pytestmark = pytest.mark.slow

OPTIONS = {
    "greedy": SearchOptions(),
    "beam": SearchOptions(beam=4),
    "n_best": SearchOptions(beam=4, num_hyps=3),
    "without_penalty": SearchOptions(beam=4, length_penalty=0.0),
    "n_best_without_penalty": SearchOptions(beam=4, num_hyps=4, length_penalty=0.0),
    "mild_penalty": SearchOptions(beam=4, num_hyps=2, length_penalty=0.6),
    "short": SearchOptions(beam=4, max_length_ratio=0.3, max_length_slack=1),
    "no_bigram_twice": SearchOptions(beam=4, num_hyps=3, no_repeat_ngram=2),
    "no_token_twice": SearchOptions(no_repeat_ngram=1),
    "greedy_short": SearchOptions(max_length_ratio=0.3, max_length_slack=1),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_both_forms_give_the_same_translations(translators, options):
    assert len(translators.sources) >= 100
    fast = translators.fast.translate(translators.sources, options)
    slow = generate(translators.model, translators.sources, options, batch_size=64)
    for ours, theirs in zip(fast, slow, strict=True):
        assert [hyp.ids for hyp in ours] == [hyp.ids for hyp in theirs]
        assert [hyp.finished for hyp in ours] == [hyp.finished for hyp in theirs]
        for hyp, other in zip(ours, theirs, strict=True):
            assert hyp.score == pytest.approx(other.score, abs=1e-3)
        assert len(ours) == options.num_hyps


@pytest.mark.parametrize("tokens", [16, 100, 100_000])
def test_the_budget_of_a_batch_changes_no_translation(translators, tokens, monkeypatch):
    options = SearchOptions(beam=4, num_hyps=3)
    expected = translators.fast.translate(translators.sources, options)
    monkeypatch.setattr(memory, "_tokens", tokens)
    for again in (
        translators.fast.translate(translators.sources, options),
        generate(translators.model, translators.sources, options),
    ):
        assert [[hyp.ids for hyp in best] for best in again] == [
            [hyp.ids for hyp in best] for best in expected
        ]


def test_outputs_are_peaked_enough_to_compare(translators):
    """Outputs differ between sources and are mostly certain, so comparing them is a real test."""
    translations = translators.fast.translate(translators.sources, SearchOptions(beam=4))
    assert len({tuple(hyps[0].ids) for hyps in translations}) > 90
    assert sum(hyps[0].score > -5 for hyps in translations) > 60


def test_a_cut_hypothesis_is_not_finished(translators):
    options = SearchOptions(max_length_ratio=0.001, max_length_slack=2)
    for (hyp,) in translators.fast.translate(translators.sources[:10], options):
        assert len(hyp.ids) == 2
        assert not hyp.finished


def test_results_come_in_the_order_of_the_sources(translators):
    sources = translators.sources[:20]
    translations = translators.fast.translate(sources, SearchOptions())
    backwards = translators.fast.translate(sources[::-1], SearchOptions())
    assert [h[0].ids for h in backwards[::-1]] == [h[0].ids for h in translations]
    assert len({len(source) for source in sources}) > 3


def test_no_source_is_no_translation(translators):
    assert translators.fast.translate([], SearchOptions()) == []


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_pytorch_keeps_its_threads(translators, toy_tokenizers, tmp_path, threads):
    """Threads decide how sums are split, and so about the last bits of what is trained next."""
    before, tokenizer = torch.get_num_threads(), toy_tokenizers["joint"]
    if not translators.model.shared:
        tokenizer = toy_tokenizers["separate"]
    export(translators.model, tokenizer, tmp_path)
    torch.set_num_threads(threads)
    try:
        fast = FastTranslator(tmp_path, tokenizer, positions=40, threads=2)
        fast.translate(translators.sources[:5], SearchOptions())
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
