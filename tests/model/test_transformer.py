"""What a position may see, and that decoding step by step equals decoding at once."""

import math

import pytest
import torch
from torch.nn import functional as F

from kdray.config.model import PRESETS, ModelConfig
from kdray.model.attention import select_rows
from kdray.model.transformer import Transformer, causal_bias, sinusoids

SRC_VOCAB, TGT_VOCAB, WIDTH = 11, 13, 16
EXACT = {"rtol": 1e-10, "atol": 1e-12}


def build(*, shared=False, seed=1, **config):
    torch.manual_seed(seed)
    shape = {"preset": "nano", "width": WIDTH, "feedforward": 24, "max_length": 32, "dropout": 0}
    model = Transformer(
        ModelConfig(**{**shape, "decoder_layers": 2, "encoder_layers": 2, **config}),
        src_vocab=TGT_VOCAB if shared else SRC_VOCAB,
        tgt_vocab=TGT_VOCAB,
        shared=shared,
    )
    return model.double().eval()


def inputs(*, b=3, s=6, t=7, seed=2):
    """Sources of different lengths, and target inputs."""
    torch.manual_seed(seed)
    mask = torch.arange(s)[None, :] < torch.tensor([s, 2, 4])[:b, None]
    return torch.randint(4, SRC_VOCAB, (b, s)), mask, torch.randint(4, TGT_VOCAB, (b, t))


def on_meta(shared, **config):
    with torch.device("meta"):
        return Transformer(
            ModelConfig(**config), src_vocab=100, tgt_vocab=100 if shared else 70, shared=shared
        )


@torch.no_grad()
def test_a_position_sees_no_later_one():
    model, (src, mask, tgt) = build(), inputs()
    before = model(src, mask, tgt)
    for changed in range(tgt.size(1)):
        other = tgt.clone()
        other[:, changed] = (tgt[:, changed] - 4 + 1) % (TGT_VOCAB - 4) + 4
        after = model(src, mask, other)
        assert torch.equal(after[:, :changed], before[:, :changed])
        assert not torch.allclose(after[:, changed:], before[:, changed:])


@torch.no_grad()
def test_source_padding_is_not_seen():
    model, (src, mask, tgt) = build(), inputs()
    expected = model(src, mask, tgt)
    garbage = torch.where(mask, src, 7)
    torch.testing.assert_close(model(garbage, mask, tgt), expected, **EXACT)
    wider = model(F.pad(src, (0, 5), value=9), F.pad(mask, (0, 5), value=False), tgt)
    torch.testing.assert_close(wider, expected, **EXACT)
    alone = model(src[1:2, :2], mask[1:2, :2], tgt[1:2])  # without padding: no mask at all
    torch.testing.assert_close(alone, expected[1:2], **EXACT)


@torch.no_grad()
def test_every_source_position_is_seen_from_every_target_position():
    model, (src, mask, tgt) = build(), inputs()
    before = model(src, mask, tgt)
    for changed in range(2):  # the shortest source has two
        other = src.clone()
        other[:, changed] = (src[:, changed] - 4 + 1) % (SRC_VOCAB - 4) + 4
        assert ((model(other, mask, tgt) - before).abs().amax(2) > 1e-6).all()


@torch.no_grad()
def test_decoding_by_steps_with_a_cache_equals_decoding_at_once():
    model, (src, mask, tgt) = build(), inputs()
    memory, cache = model.encode(src, mask), {}
    steps = [
        model.decode(tgt[:, t : t + 1], memory, mask, cache=cache, start=t)
        for t in range(tgt.size(1))
    ]
    torch.testing.assert_close(torch.cat(steps, 1), model.decode(tgt, memory, mask), **EXACT)


@torch.no_grad()
def test_cache_rows_can_be_reordered_and_repeated():
    model, (src, mask, tgt) = build(), inputs()
    memory, cache = model.encode(src, mask), {}
    for t in range(3):
        model.decode(tgt[:, t : t + 1], memory, mask, cache=cache, start=t)
    rows = torch.tensor([2, 0, 0])
    select_rows(cache, rows)
    states = model.decode(tgt[rows, 3:4], memory[rows], mask[rows], cache=cache, start=3)
    expected = model.decode(tgt[:, :4], memory, mask)[rows, 3:]
    torch.testing.assert_close(states, expected, **EXACT)


def test_logits_are_states_times_the_target_embedding():
    model, (src, mask, tgt) = build(), inputs()
    states = model.decode(tgt, model.encode(src, mask), mask)
    torch.testing.assert_close(model(src, mask, tgt), states @ model.tgt_embedding.weight.T)
    assert model.output_weight is model.tgt_embedding.weight


def test_shared_embeddings_are_one_parameter():
    model = build(shared=True)
    assert model.src_embedding is model.tgt_embedding
    src, mask, _ = inputs()
    model.encode(src, mask).sum().backward()
    assert model.output_weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="equal vocabularies: 5, 6"):
        Transformer(ModelConfig(preset="nano"), src_vocab=5, tgt_vocab=6, shared=True)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_builds_and_counts_tied_embeddings_once(preset, shared):
    model, shape = on_meta(shared, preset=preset), ModelConfig(preset=preset)
    d, f, norm = shape.width, shape.feedforward, 2 * shape.width
    attention, feedforward = 4 * d * d + 4 * d, 2 * d * f + d + f
    encoder = shape.encoder_layers * (attention + feedforward + 2 * norm)
    decoder = shape.decoder_layers * (2 * attention + feedforward + 3 * norm)
    embeddings = 100 * d if shared else 170 * d
    assert model.num_params() == encoder + decoder + 2 * norm + embeddings
    assert (model.src_vocab, model.tgt_vocab) == (100, 100 if shared else 70)


@pytest.mark.parametrize(("deep", "shallow"), [("tiny_deep", "tiny"), ("small_deep", "small")])
def test_deep_encoder_presets_move_layers_to_the_source_side(deep, shallow):
    assert PRESETS[deep]["width"] == PRESETS[shallow]["width"]
    assert PRESETS[deep]["encoder_layers"] > PRESETS[shallow]["encoder_layers"]
    assert PRESETS[deep]["decoder_layers"] == 1
    model = on_meta(True, preset=deep)
    assert (len(model.encoder), len(model.decoder)) == (PRESETS[deep]["encoder_layers"], 1)


def test_more_positions_than_the_model_has_are_refused():
    model = build(max_length=8)
    src = torch.full((1, 9), 5)
    with pytest.raises(ValueError, match="9 positions exceed the model's 8"):
        model.encode(src, src > 0)
    with pytest.raises(ValueError, match="9 positions"):
        model.decode(
            src[:, :1], torch.zeros(1, 2, WIDTH).double(), src[:, :2] > 0,
            cache={}, start=8,
        )  # fmt: skip


def test_dropout_is_on_in_training_only():
    model, (src, mask, tgt) = build(dropout=0.2), inputs()
    assert torch.equal(model(src, mask, tgt), model(src, mask, tgt))
    model.train()
    assert not torch.equal(model(src, mask, tgt), model(src, mask, tgt))


def test_each_third_of_a_fused_projection_is_initialised_as_its_own_matrix():
    """Xavier over [3D, D] would make them too small: the bound is gain·sqrt(6 / (D + D))."""
    model = build(width=64)
    bound = 2**-0.5 * math.sqrt(6 / 128)
    for block in model.encoder[0].attention.qkv.weight.split(64):
        assert 0.95 * bound < block.abs().max() <= bound
    assert model.tgt_embedding.weight.std().item() == pytest.approx(64**-0.5, rel=0.1)


def test_sinusoids_are_sines_and_cosines_at_rates_from_one_to_a_ten_thousandth():
    table = sinusoids(50, width=12)
    assert table.shape == (50, 12)
    for position in (0, 1, 17, 49):
        for i in range(6):
            angle = position * 10_000 ** (-i / 5)
            assert table[position, i].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[position, 6 + i].item() == pytest.approx(math.cos(angle), abs=1e-5)
    assert len({tuple(row.tolist()) for row in table}) == 50


def test_causal_bias_is_zero_up_to_the_diagonal():
    bias = causal_bias(4, dtype=torch.float32, device=torch.device("cpu"))
    assert torch.equal(bias == 0, torch.ones(4, 4).tril().bool())
    assert (bias + torch.randn(4, 4)).softmax(1).triu(1).abs().max() == 0


@torch.no_grad()
def test_half_precision_stays_near_and_finite():
    model, (src, mask, tgt) = build(), inputs()
    expected = model(src, mask, tgt)
    logits = model.bfloat16()(src, mask, tgt)
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.double(), expected, rtol=0.1, atol=0.1)
