"""Draws are of the model's distribution, and only the seed of a sentence decides them."""

import pytest
import torch

from kdray.config.model import ModelConfig
from kdray.model.draw import draw
from kdray.model.generate import SearchOptions, generate
from kdray.model.transformer import Transformer
from kdray.text.tokenizer import BOS, EOS, PAD, UNK

VOCABULARY = 24


@pytest.fixture(scope="module")
def models():
    """Two models with random weights; nothing that they say is certain."""
    made = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        config = ModelConfig(preset="nano", dropout=0, max_length=12)
        made.append(
            Transformer(config, src_vocab=VOCABULARY, tgt_vocab=VOCABULARY, shared=True).eval()
        )
    return made


def sources(count):
    return [[4 + (row * k) % 20 for k in range(1, 3 + row % 6)] + [EOS] for row in range(count)]


@pytest.mark.parametrize("members", [1, 2])
def test_neither_threads_nor_batches_change_a_draw(models, members):
    src, seeds = sources(20), list(range(20))
    first = draw(models[:members], src, seeds=seeds, temperature=1.0)
    before = torch.get_num_threads()
    try:
        for threads, batch_size in ((1, 32), (2, 32), (2, 7), (1, 1)):
            torch.set_num_threads(threads)
            drawn = draw(models[:members], src, seeds=seeds, temperature=1.0, batch_size=batch_size)
            assert [hyp.ids for hyp in drawn] == [hyp.ids for hyp in first]
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_other_seeds_give_other_translations(models):
    src = sources(1) * 30
    drawn = draw(models[:1], src, seeds=range(30), temperature=1.0)
    assert len({tuple(hyp.ids) for hyp in drawn}) > 20


def test_a_draw_of_no_temperature_is_greedy(models):
    src = sources(20)
    drawn = draw(models[:1], src, seeds=range(20), temperature=1e-9)
    greedy = generate(models[0], src, SearchOptions())
    assert [hyp.ids for hyp in drawn] == [best.ids for best, *_ in greedy]
    assert [hyp.score for hyp in drawn] == pytest.approx([best.score for best, *_ in greedy], 1e-4)


def test_special_tokens_are_never_drawn_and_lengths_are_limited(models):
    drawn = draw(models, sources(60), seeds=range(60), temperature=2.0)
    for hyp, src in zip(drawn, sources(60), strict=True):
        assert not {PAD, UNK, BOS} & set(hyp.ids)
        assert EOS not in hyp.ids[:-1]
        assert hyp.ids[0] != EOS
        assert hyp.finished == (hyp.ids[-1] == EOS)
        assert len(hyp.ids) <= SearchOptions().max_length(len(src), positions=12)


def test_first_tokens_are_as_frequent_as_they_are_likely(models):
    many, temperature = 2000, 0.7
    src = [sources(3)[2]] * many
    drawn = draw(models[:1], src, seeds=range(many), temperature=temperature, batch_size=500)
    src_BS = torch.tensor(src[:1])
    with torch.no_grad():
        logits = models[0](src_BS, src_BS != PAD, torch.tensor([[BOS]]))[0, 0]
    logits[[PAD, UNK, BOS, EOS]] = -torch.inf
    likely = (logits / temperature).softmax(0)
    counted = torch.bincount(torch.tensor([hyp.ids[0] for hyp in drawn]), minlength=VOCABULARY)
    spread = (many * likely * (1 - likely)).sqrt() + 1
    assert ((counted - many * likely).abs() < 5 * spread).all()


def test_nothing_to_draw(models):
    assert draw(models, [], seeds=[], temperature=1.0) == []
