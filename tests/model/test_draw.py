"""Draws are of the model's distribution, and only the seed of a sentence decides them."""

import pytest
import torch

from kdray.config.model import ModelConfig
from kdray.model.draw import draw, drawn_tokens
from kdray.model.generate import Sampling, SearchOptions, generate
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


def at(temperature, **options):
    return SearchOptions(sampling=Sampling(temperature), **options)


def sources(count):
    return [[4 + (row * k) % 20 for k in range(1, 3 + row % 6)] + [EOS] for row in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("members", [1, 2])
def test_neither_threads_nor_batches_change_a_draw(models, members):
    src, seeds = sources(20), list(range(20))
    first = draw(models[:members], src, seeds=seeds, options=at(1.0))
    before = torch.get_num_threads()
    try:
        for threads, batch_size in ((1, 32), (2, 32), (2, 7), (1, 1)):
            torch.set_num_threads(threads)
            drawn = draw(models[:members], src, seeds=seeds, options=at(1.0), batch_size=batch_size)
            assert [hyp.ids for hyp in drawn] == [hyp.ids for hyp in first]
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_other_seeds_give_other_translations(models):
    src = sources(1) * 30
    drawn = draw(models[:1], src, seeds=range(30), options=at(1.0))
    assert len({tuple(hyp.ids) for hyp in drawn}) > 20


def test_a_draw_of_no_temperature_is_greedy(models):
    src = sources(20)
    drawn = draw(models[:1], src, seeds=range(20), options=at(1e-9))
    greedy = generate(models[0], src, SearchOptions())
    assert [hyp.ids for hyp in drawn] == [best.ids for best, *_ in greedy]
    assert [hyp.score for hyp in drawn] == pytest.approx([best.score for best, *_ in greedy], 1e-4)


def test_special_tokens_are_never_drawn_and_lengths_are_limited(models):
    drawn = draw(models, sources(60), seeds=range(60), options=at(2.0))
    for hyp, src in zip(drawn, sources(60), strict=True):
        assert not {PAD, UNK, BOS} & set(hyp.ids)
        assert EOS not in hyp.ids[:-1]
        assert hyp.ids[0] != EOS
        assert hyp.finished == (hyp.ids[-1] == EOS)
        assert len(hyp.ids) <= SearchOptions().max_length(len(src), positions=12)


@pytest.mark.slow
def test_first_tokens_are_as_frequent_as_they_are_likely(models):
    many, temperature = 2000, 0.7
    src = [sources(3)[2]] * many
    drawn = draw(models[:1], src, seeds=range(many), options=at(temperature), batch_size=500)
    src_BS = torch.tensor(src[:1])
    with torch.no_grad():
        logits = models[0](src_BS, src_BS != PAD, torch.tensor([[BOS]]))[0, 0]
    logits[[PAD, UNK, BOS, EOS]] = -torch.inf
    likely = (logits / temperature).softmax(0)
    counted = torch.bincount(torch.tensor([hyp.ids[0] for hyp in drawn]), minlength=VOCABULARY)
    spread = (many * likely * (1 - likely)).sqrt() + 1
    assert ((counted - many * likely).abs() < 5 * spread).all()


def test_nothing_to_draw(models):
    assert draw(models, [], seeds=[], options=at(1.0)) == []


@pytest.mark.parametrize(("top_k", "top_p"), [(1, 1.0), (3, 1.0), (None, 0.5), (4, 0.6)])
def test_only_the_likeliest_tokens_are_drawn(top_k, top_p):
    """Each as often as its share of what is kept."""
    torch.manual_seed(1)
    logp, many = torch.randn(1, 12).double().log_softmax(1), 4000
    numbers = (torch.arange(many).double()[:, None] + 0.5) / many
    tokens = drawn_tokens(logp.expand(many, -1), numbers, Sampling(1.0, top_k, top_p))[:, 0]
    p, order = logp[0].exp().sort(descending=True)
    p = p[:top_k] / p[:top_k].sum()
    kept = 1 + int((p.cumsum(0) < top_p).sum())
    kept = min(kept, len(p))
    shares = torch.bincount(tokens, minlength=12)[order[:kept]] / many
    assert set(tokens.tolist()) == set(order[:kept].tolist())
    assert shares.tolist() == pytest.approx((p[:kept] / p[:kept].sum()).tolist(), abs=2 / many)


def test_a_number_next_to_one_draws_nothing_that_was_cut_off():
    logp = torch.tensor([[0.5, 0.3, 0.2]]).double().log()
    last = torch.full((1, 1), 1 - 2**-53, dtype=torch.float64)
    assert drawn_tokens(logp, last, Sampling(top_k=2)).item() == 1


def test_a_prefix_stands_before_what_is_drawn(models):
    src, prefix = sources(20), [7, 9]
    drawn = draw(models[:1], src, seeds=range(20), options=at(1.0), prefix=prefix)
    assert all(hyp.ids[:2] == prefix and len(hyp.ids) > 2 for hyp in drawn)
    assert len({tuple(hyp.ids) for hyp in drawn}) > 15
    alone = draw(models[:1], src[3:4], seeds=[3], options=at(1.0), prefix=prefix)
    assert alone[0].ids == drawn[3].ids


def test_drawn_translations_repeat_no_bigram(models):
    repeating = draw(models[:1], sources(60), seeds=range(60), options=at(0.3))
    plain = draw(models[:1], sources(60), seeds=range(60), options=at(0.3, no_repeat_ngram=2))

    def repeats(hyp):
        pairs = list(zip(hyp.ids, hyp.ids[1:], strict=False))
        return len(pairs) != len(set(pairs))

    assert any(map(repeats, repeating))
    assert not any(map(repeats, plain))
