"""Several models search like one model whose probabilities are the mean of theirs."""

import numpy as np
import pytest
import torch

from kdray.config.model import ModelConfig
from kdray.model.generate import SearchOptions, generate
from kdray.model.transformer import Transformer
from kdray.text.tokenizer import BOS, EOS, PAD, UNK

pytestmark = pytest.mark.slow

VOCAB, POSITIONS = 20, 12
BEAM = SearchOptions(beam=4, num_hyps=3)
OPTIONS = [SearchOptions(), BEAM, SearchOptions(beam=3, num_hyps=2, length_penalty=0.0)]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def model(*, seed, width=16, positions=POSITIONS):
    """Small embeddings, so that the last token does not decide the next one alone."""
    torch.manual_seed(seed)
    config = ModelConfig(preset="nano", width=width, dropout=0, max_length=positions)
    made = Transformer(config, src_vocab=VOCAB, tgt_vocab=VOCAB, shared=True).eval()
    with torch.no_grad():
        made.tgt_embedding.weight.mul_(0.5)
        made.decoder_norm.weight.mul_(4)
    return made


ONE, TWO = model(seed=14), model(seed=4, width=8, positions=20)
SOURCES = [
    [*np.random.default_rng(row).integers(4, VOCAB, 1 + row % 7).tolist(), EOS] for row in range(20)
]


def log_probs(source, ids, *, weights=(0.5, 0.5)):
    """log of the weighted mean of both models' probabilities at each place of a translation."""
    src = torch.tensor([source])
    each = [m(src, src != PAD, torch.tensor([[BOS, *ids[:-1]]]))[0].detach() for m in (ONE, TWO)]
    mean = sum(w * logits.double().softmax(1) for w, logits in zip(weights, each, strict=True))
    mean[:, [PAD, UNK, BOS]] = 0
    mean[0, EOS] = 0
    return (mean / mean.sum(1, keepdim=True)).log()


def plain(translations):
    return [[(hyp.ids, hyp.finished) for hyp in hyps] for hyps in translations]


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_equal_models_are_one(options):
    expected = generate(ONE, SOURCES, options)
    assert any(hyp.finished for hyps in expected for hyp in hyps)
    translations = generate([ONE, ONE, ONE], SOURCES, options)
    assert plain(translations) == plain(expected)
    for ours, theirs in zip(translations, expected, strict=True):
        scores = [[hyp.score for hyp in hyps] for hyps in (ours, theirs)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_a_list_of_one_is_that_one_bit_for_bit(options):
    assert generate([ONE], SOURCES, options) == generate(ONE, SOURCES, options)


def test_greedy_takes_the_best_of_the_mean():
    translations = generate([ONE, TWO], SOURCES, SearchOptions())
    assert plain(translations) != plain(generate(ONE, SOURCES, SearchOptions()))
    for source, (hyp,) in zip(SOURCES, translations, strict=True):
        assert hyp.ids == log_probs(source, hyp.ids).argmax(1).tolist()
        assert len(hyp.ids) <= POSITIONS  # of the shorter model


def test_score_is_the_sum_of_log_mean_probabilities():
    weights = torch.tensor([0.2, 0.8]).expand(len(SOURCES), 2)
    for log_weights, shares in ((None, (0.5, 0.5)), (weights.log(), (0.2, 0.8))):
        translations = generate([ONE, TWO], SOURCES, BEAM, log_weights_BM=log_weights)
        for source, hyps in zip(SOURCES, translations, strict=True):
            for hyp in hyps:
                logp = log_probs(source, hyp.ids, weights=shares)
                total = logp[torch.arange(len(hyp.ids)), hyp.ids].sum()
                assert hyp.score == pytest.approx(float(total), abs=1e-3)


def test_each_source_has_its_own_weights_whatever_its_batch():
    """With weights 1 and 0, the first model decides for even sources, the second for odd ones."""
    even = torch.tensor([row % 2 == 0 for row in range(len(SOURCES))])
    log_weights = torch.stack((even, ~even), dim=1).float().log()
    options = SearchOptions(beam=4, num_hyps=3, max_length_ratio=0.001, max_length_slack=8)
    each = [plain(generate(m, SOURCES, options)) for m in (ONE, TWO)]
    assert all(ours != theirs for ours, theirs in zip(*each, strict=True))
    expected = [each[row % 2][row] for row in range(len(SOURCES))]
    for batch_size in (1, 6, 64):
        translations = generate(
            [ONE, TWO], SOURCES, options, log_weights_BM=log_weights, batch_size=batch_size
        )
        assert plain(translations) == expected
