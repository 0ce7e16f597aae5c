"""A search depends on the sentence and the model, never on the batch; greedy takes the best."""

import pytest
import torch

from kdray.model.generate import SearchOptions, generate
from kdray.text.tokenizer import BOS, EOS, PAD, UNK

pytestmark = pytest.mark.slow


def log_probs(model, source, ids):
    """log p of all tokens at each place of a translation, by one pass over all of it."""
    src = torch.tensor([source])
    logits = model(src, src != PAD, torch.tensor([[BOS, *ids[:-1]]]))[0].detach()
    logits[:, [PAD, UNK, BOS]] = -torch.inf
    logits[0, EOS] = -torch.inf  # a translation is never empty
    return logits.log_softmax(-1)


def assert_same(translations, expected):
    for ours, theirs in zip(translations, expected, strict=True):
        assert [hyp.ids for hyp in ours] == [hyp.ids for hyp in theirs]
        assert [hyp.finished for hyp in ours] == [hyp.finished for hyp in theirs]
        for hyp, other in zip(ours, theirs, strict=True):
            assert hyp.score == pytest.approx(other.score, abs=1e-4)


def test_greedy_takes_the_best_token_at_each_step(translators):
    for source, (hyp,) in zip(
        translators.sources[:30],
        generate(translators.model, translators.sources[:30], SearchOptions()),
        strict=True,
    ):
        logp = log_probs(translators.model, source, hyp.ids)
        assert hyp.ids == logp.argmax(1).tolist()
        assert hyp.finished == (hyp.ids[-1] == EOS)


@pytest.mark.parametrize("beam", [1, 4])
def test_score_is_the_sum_of_log_probabilities(translators, beam):
    options = SearchOptions(beam=beam, num_hyps=beam)
    for source, hyps in zip(
        translators.sources[:10],
        generate(translators.model, translators.sources[:10], options),
        strict=True,
    ):
        for hyp in hyps:
            logp = log_probs(translators.model, source, hyp.ids)
            total = logp[torch.arange(len(hyp.ids)), hyp.ids].sum()
            assert hyp.score == pytest.approx(float(total), abs=1e-3)


@pytest.mark.parametrize("options", [SearchOptions(), SearchOptions(beam=4, num_hyps=4)], ids=repr)
def test_the_batch_changes_nothing(translators, options):
    """A sentence whose search has ended takes no more hypotheses while its batch goes on."""
    sources = translators.sources[:24]
    alone = generate(translators.model, sources, options, batch_size=1)
    assert_same(generate(translators.model, sources, options, batch_size=24), alone)
    backwards = generate(translators.model, sources[::-1], options, batch_size=7)
    assert_same(backwards[::-1], alone)


def test_hypotheses_are_ranked_by_normalised_score_and_distinct(translators):
    penalty = 1.0
    options = SearchOptions(beam=4, num_hyps=3, length_penalty=penalty)
    for hyps in generate(translators.model, translators.sources[:30], options):
        normalised = [hyp.score / len(hyp.ids) ** penalty for hyp in hyps]
        assert normalised == sorted(normalised, reverse=True)
        assert len({tuple(hyp.ids) for hyp in hyps}) == len(hyps) == 3


def test_special_tokens_are_never_generated(translators):
    for hyps in generate(translators.model, translators.sources[:30], SearchOptions(beam=4)):
        assert not {PAD, UNK, BOS} & set(hyps[0].ids)
        assert EOS not in hyps[0].ids[:-1]


@pytest.mark.parametrize("beam", [1, 4])
def test_a_hypothesis_at_the_length_limit_is_not_finished(translators, beam):
    options = SearchOptions(beam=beam, max_length_ratio=0.001, max_length_slack=2)
    for (hyp,) in generate(translators.model, translators.sources[:10], options):
        assert len(hyp.ids) == 2
        assert not hyp.finished


def test_the_limit_grows_with_the_source_up_to_the_positions():
    options = SearchOptions(max_length_ratio=1.5, max_length_slack=4)
    assert [options.max_length(n, positions=40) for n in (1, 3, 10, 100)] == [5, 8, 19, 40]


def test_no_source_is_no_translation(translators):
    assert generate(translators.model, [], SearchOptions()) == []
