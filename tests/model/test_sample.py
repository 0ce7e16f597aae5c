"""Sampled sequences follow the model's own distribution and keep within their limits."""

import pytest
import torch

from kdray.config.model import ModelConfig
from kdray.model.sample import CHUNK, sample
from kdray.model.transformer import Transformer
from kdray.text.tokenizer import BOS, EOS, PAD, UNK

VOCAB = 9
CONFIG = ModelConfig(preset="nano", width=8, feedforward=16, heads=2, dropout=0.1, max_length=16)
SRC = torch.tensor([[4, 5, 6, EOS], [7, EOS, PAD, PAD], [8, 8, EOS, PAD]])
LIMITS = [6, 3, 9]
COLD = 1e-9  # so cold that the likeliest token is drawn each time


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(1)
    return Transformer(CONFIG, src_vocab=VOCAB, tgt_vocab=VOCAB, shared=True).eval()


def drawn(model, *, temperature=1.0, seed=0, limits=LIMITS, rows=(0, 1, 2)):
    torch.manual_seed(seed)
    src = SRC[list(rows)]
    return sample(model, src, src != PAD, max_lengths=limits, temperature=temperature)


def allowed(logits_V, *, first):
    """Logits without the tokens that may not be drawn: special ones, and `</s>` at the start."""
    out = logits_V.clone()
    out[[PAD, UNK, BOS, *([EOS] if first else [])]] = -torch.inf
    return out


def test_the_coldest_one_takes_the_likeliest_token_each_time(model) -> None:
    """With its cache it gives the same token as a pass over the whole prefix."""
    for row, ids in enumerate(drawn(model, temperature=COLD)):
        src = SRC[row : row + 1]
        prefix = [BOS]
        for token in ids:
            with torch.no_grad():
                logits = model(src, src != PAD, torch.tensor([prefix]))[0, -1]
            assert token == int(allowed(logits, first=len(prefix) == 1).argmax())
            prefix.append(token)


@pytest.mark.slow
def test_sequences_end_at_their_end_or_at_their_limit(model) -> None:
    for seed in range(30):
        for ids, limit in zip(drawn(model, seed=seed, temperature=3.0), LIMITS, strict=True):
            assert 1 <= len(ids) <= limit
            assert not {PAD, UNK, BOS} & set(ids)
            assert EOS not in ids[:-1]
            assert ids[0] != EOS
            assert ids[-1] == EOS or len(ids) == limit


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("vocabulary", [VOCAB, CHUNK, 2 * CHUNK + 7])
def test_tokens_are_drawn_as_often_as_the_model_says(vocabulary, temperature) -> None:
    """The first two tokens are drawn 6000 times for one source."""
    torch.manual_seed(1)
    model = Transformer(CONFIG, src_vocab=vocabulary, tgt_vocab=vocabulary, shared=True).eval()
    with torch.no_grad():
        model.output_weight.mul_(3)  # so that some tokens are likely
    src = SRC[:1].expand(6000, -1)
    torch.manual_seed(3)
    sequences = sample(model, src, src != PAD, max_lengths=[2] * 6000, temperature=temperature)
    with torch.no_grad():
        logits = model(SRC[:1], SRC[:1] != PAD, torch.tensor([[BOS]]))[0, -1]
        first = (allowed(logits, first=True) / temperature).softmax(0)
        likeliest = int(first.argmax())
        logits = model(SRC[:1], SRC[:1] != PAD, torch.tensor([[BOS, likeliest]]))[0, -1]
        second = (allowed(logits, first=False) / temperature).softmax(0)
    for place, p, rows in (
        (0, first, sequences),
        (1, second, [ids for ids in sequences if ids[0] == likeliest]),
    ):
        counts = torch.tensor([ids[place] for ids in rows]).bincount(minlength=vocabulary)
        spread = (p * (1 - p) * len(rows)).sqrt()
        assert len(rows) > 300
        assert ((counts - p * len(rows)).abs() <= 4.5 * spread + 3 * (p > 0)).all()


def test_dropout_is_off_and_the_mode_comes_back(model) -> None:
    model.train()
    try:
        assert drawn(model, temperature=COLD) == drawn(model, temperature=COLD, seed=9)
        assert model.training
    finally:
        model.eval()
    drawn(model)
    assert not model.training


def test_the_mode_comes_back_after_an_error(model) -> None:
    model.train()
    try:
        src = torch.full((1, 17), 5)
        with pytest.raises(ValueError, match="exceed the model's 16"):
            sample(model, src, src != PAD, max_lengths=[3], temperature=1.0)
        assert model.training
    finally:
        model.eval()


@pytest.mark.slow
def test_the_seed_decides_and_neighbours_do_not_change_the_coldest_one(model) -> None:
    assert drawn(model, seed=1) == drawn(model, seed=1) != drawn(model, seed=2)
    alone = [drawn(model, temperature=COLD, rows=[i], limits=[LIMITS[i]])[0] for i in range(3)]
    assert drawn(model, temperature=COLD) == alone


def test_a_limit_of_nothing_is_no_token(model) -> None:
    assert drawn(model, limits=[0, 2, 0])[0::2] == [[], []]
