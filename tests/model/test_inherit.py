"""Laws of students that start from the teacher: without what has no effect, outputs are equal."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from kdray.config.initial import Layers, evenly_spaced
from kdray.config.model import ModelConfig
from kdray.model.inherit import inherit, kept_channels, residual_importance
from kdray.model.transformer import Transformer, sinusoids
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import BOS, PAD

SRC_VOCAB, TGT_VOCAB = 11, 13
TEACHER = ModelConfig(
    preset="nano", width=32, feedforward=24, heads=4, encoder_layers=3, decoder_layers=3,
    dropout=0, max_length=16,
)  # fmt: skip
ALL = Layers((0, 1, 2), (0, 1, 2))
NARROW = TEACHER.model_copy(update={"width": 16, "feedforward": 10})
EXACT = {"rtol": 1e-9, "atol": 1e-10}


def new_model(config, *, shared=False):
    src_vocab = TGT_VOCAB if shared else SRC_VOCAB
    return Transformer(config, src_vocab=src_vocab, tgt_vocab=TGT_VOCAB, shared=shared).double()


def new_teacher(config=TEACHER, *, shared=False):
    """A teacher with random weights, also in norms and biases."""
    torch.manual_seed(1)
    model = new_model(config, shared=shared)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model.eval()


def new_student(teacher, config, layers=ALL):
    student = new_model(config, shared=teacher.shared)
    student.load_state_dict(inherit(teacher, config, layers))
    return student.eval()


@torch.no_grad()
def outputs(model):
    torch.manual_seed(2)
    src, tgt = torch.randint(4, SRC_VOCAB, (3, 6)), torch.randint(4, TGT_VOCAB, (3, 7))
    mask = torch.arange(6)[None, :] < torch.tensor([6, 2, 4])[:, None]
    return model(src, mask, tgt)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
def test_all_of_a_teacher_is_the_teacher(shared):
    teacher = new_teacher(shared=shared)
    student = new_student(teacher, TEACHER)
    assert torch.equal(outputs(student), outputs(teacher))
    for name, value in teacher.state_dict().items():
        assert torch.equal(student.state_dict()[name], value), name


def test_a_student_has_weights_of_its_own():
    teacher = new_teacher()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    for parameter in new_student(teacher, TEACHER).parameters():
        parameter.data.zero_()
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_layers_that_are_taken_are_whole_and_in_their_order():
    teacher = new_teacher()
    shape = TEACHER.model_copy(update={"encoder_layers": 2, "decoder_layers": 1})
    student = new_student(teacher, shape, Layers((0, 2), (1,)))
    teacher.encoder = nn.ModuleList([teacher.encoder[0], teacher.encoder[2]])
    teacher.decoder = nn.ModuleList([teacher.decoder[1]])
    assert torch.equal(outputs(student), outputs(teacher))


def inner_maps(model):
    """The inner map and the outer map of each feed-forward."""
    return [
        (layer.feedforward.inner, layer.feedforward.outer)
        for layer in [*model.encoder, *model.decoder]
    ]


def attentions(model):
    """For each attention, weights and biases of queries, keys and values, and its output map."""
    maps = []
    for layer in [*model.encoder, *model.decoder]:
        fused = layer.attention.qkv
        parts = zip(fused.weight.data.chunk(3), fused.bias.data.chunk(3), strict=True)
        maps.append((*parts, layer.attention.output))
    for layer in model.decoder:
        query, fused = layer.cross.query, layer.cross.key_value
        parts = zip(fused.weight.data.chunk(2), fused.bias.data.chunk(2), strict=True)
        maps.append(((query.weight.data, query.bias.data), *parts, layer.cross.output))
    return maps


def some(count, of):
    """Different random indices."""
    return torch.randperm(of)[:count]


@pytest.mark.slow
@pytest.mark.parametrize("side", ["in", "out"])
def test_units_that_do_nothing_can_go(side):
    teacher = new_teacher()
    for inner, outer in inner_maps(teacher):
        dead = some(14, of=24)
        if side == "in":
            inner.weight.data[dead] = 0
            inner.bias.data[dead] = 0
        else:
            outer.weight.data[:, dead] = 0
    student = new_student(teacher, TEACHER.model_copy(update={"feedforward": 10}))
    torch.testing.assert_close(outputs(student), outputs(teacher), **EXACT)


def empty_channels(teacher, kept):
    """Zero the residual channels that are not `kept`, half of each head, and all positions.

    A norm subtracts the mean over channels, so whatever is written has mean 0 over the kept ones.
    """
    gone = torch.ones(TEACHER.width, dtype=torch.bool)
    gone[kept] = False

    def clear(written):  # channels first
        written[gone] = 0
        written[kept] -= written[kept].mean(0, keepdim=True)

    teacher.positions.zero_()
    for embedding in (teacher.src_embedding, teacher.tgt_embedding):
        clear(embedding.weight.data.T)
    for *_, output in (*attentions(teacher), *inner_maps(teacher)):
        clear(output.weight.data)
        clear(output.bias.data)
    for module in teacher.modules():
        if isinstance(module, nn.LayerNorm):
            module.bias.data[gone] = 0
    for query, key, value, output in attentions(teacher):
        for head in range(4):
            matched = some(4, of=8)
            for part in (query, key)[head % 2]:  # weight and bias
                part[8 * head + matched] = 0
            mixed = some(4, of=8)
            if head % 2:
                value[0][8 * head + mixed] = 0
                value[1][8 * head + mixed] = 0
            else:
                output.weight.data[:, 8 * head + mixed] = 0


def without_epsilon(model):
    """The epsilon that a norm adds to the variance has more effect with more empty channels."""
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 0.0
    return model


@pytest.mark.parametrize("shared", [True, False])
def test_channels_that_are_empty_can_go(shared):
    teacher = without_epsilon(new_teacher(shared=shared))
    kept = kept_channels(torch.rand(TEACHER.width), width=NARROW.width)
    empty_channels(teacher, kept)
    shape = NARROW.model_copy(update={"feedforward": 24})
    student = without_epsilon(new_student(teacher, shape))
    student.positions.zero_()
    torch.testing.assert_close(outputs(student), outputs(teacher), **EXACT)


def test_what_no_logit_depends_on_is_worth_nothing():
    """Weights that only shift all keys, or read what the norm before has set to zero."""
    teacher = new_teacher()
    silent, spoken = torch.arange(32) < 16, torch.arange(32) >= 16
    teacher.encoder_norm.weight.data[silent] = 0
    teacher.encoder_norm.bias.data[silent] = 0
    (_, (weight, bias), _, _) = attentions(teacher)[-1]
    weight[::2, silent] = 100
    weight[::2, spoken] = 0
    bias[::2] = 100
    state = inherit(teacher, NARROW, ALL)
    assert state["decoder.2.cross.key_value.bias"][: NARROW.width].abs().max() < 100


def test_heads_stay_together_and_so_do_their_channels():
    teacher = new_teacher()
    numbers = torch.arange(TEACHER.width).double()
    for query, key, value, output in attentions(teacher):
        for _, bias in (query, key, value):
            bias.copy_(numbers)
        output.weight.data.copy_(numbers.expand_as(output.weight))
    student = new_student(teacher, NARROW)
    scale = (4 / 8) ** 0.5
    for (_, query), (_, key), (_, value), output in attentions(student):
        torch.testing.assert_close(query / scale, key, **EXACT)
        assert torch.equal(value.expand_as(output.weight), output.weight)
        for channels in (key, value):
            heads = channels.long().view(4, 4) // 8
            assert heads.tolist() == [[head] * 4 for head in range(4)]
            assert channels.diff().min() > 0, "none stands there twice"


HALVES = st.integers(1, 40).flatmap(lambda d: st.tuples(st.integers(d, 60), st.just(d)))


@pytest.mark.slow
@given(halves=HALVES, seed=st.integers(0, 99))
def test_channels_stay_in_pairs_where_their_frequency_is_nearest(halves, seed):
    teacher, student = halves
    importance = torch.rand(2 * teacher, generator=torch.Generator().manual_seed(seed))
    kept = kept_channels(importance, width=2 * student).tolist()
    pairs = kept[:student]
    assert kept[student:] == [pair + teacher for pair in pairs]
    assert all(first < second for first, second in pairwise(pairs))
    frequency = {pair: pair / max(teacher - 1, 1) for pair in range(teacher)}  # its exponent
    for place, pair in enumerate(pairs):
        own = place / max(student - 1, 1)
        if student > 1:
            assert abs(frequency[pair] - own) <= 0.5 / (student - 1) + 1e-9
        rivals = [p for p in range(teacher) if abs(frequency[p] - own) < 0.5 / student - 1e-9]
        total = importance[:teacher] + importance[teacher:]
        assert all(total[pair] >= total[rival] for rival in rivals)


def test_the_pairs_are_those_of_the_sinusoids():
    """Sine and cosine of a pair have the same frequency: their squares add up to 1 everywhere."""
    kept = kept_channels(torch.rand(32), width=16)
    squares = sinusoids(9, width=32)[:, kept].pow(2)
    torch.testing.assert_close(squares[:, :8] + squares[:, 8:], torch.ones(9, 8))


@pytest.mark.parametrize("shared", [True, False])
def test_importance_is_the_square_of_what_is_written_into_a_channel(shared):
    teacher = new_teacher(shared=shared)
    layers = [teacher.encoder[1], teacher.decoder[0], teacher.decoder[2]]
    tables = {id(t): t.weight for t in (teacher.src_embedding, teacher.tgt_embedding)}.values()
    expected = sum(32 * table.pow(2).mean(0) for table in tables) / len(tables)
    for layer in layers:
        outputs = [layer.attention.output, layer.feedforward.outer]
        outputs += [layer.cross.output] if layer in list(teacher.decoder) else []
        expected = expected + sum(output.weight.pow(2).sum(1) for output in outputs)
    torch.testing.assert_close(residual_importance(teacher, layers), expected)


def test_the_same_teacher_gives_the_same_student():
    teacher = new_teacher().float()
    before = torch.get_rng_state()
    first = inherit(teacher, NARROW, ALL)
    again = inherit(teacher, NARROW, ALL)
    assert torch.equal(torch.get_rng_state(), before), "it draws nothing"
    assert all(torch.equal(again[name], value) for name, value in first.items())
    assert all(value.dtype == torch.float32 for value in first.values())


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("shared", [True, False])
def test_every_weight_of_a_student_is_given(layers, shared):
    shape = NARROW.model_copy(update={"encoder_layers": layers, "decoder_layers": 4 - layers})
    chosen = Layers(evenly_spaced(layers, of=3), evenly_spaced(4 - layers, of=3))
    state = inherit(new_teacher(shared=shared), shape, chosen)
    expected = new_model(shape, shared=shared).state_dict()
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in expected.items()
    }


@pytest.mark.slow
def test_a_pruned_student_knows_more_than_a_random_one(translators, toy_pairs, toy_tokenizers):
    teacher = translators.model
    tokenizer = toy_tokenizers["joint" if teacher.shared else "separate"]
    references = tokenizer.encode_tgt([ref for _, ref in toy_pairs[-len(translators.sources) :]])
    data = (Sequences.from_lists(translators.sources), Sequences.from_lists(references))
    shape = teacher.config.model_copy(update={"width": 24, "feedforward": 48})
    losses = {"teacher": dev_loss(teacher, *data)}
    for seed in (1, 2, 3):
        torch.manual_seed(seed)
        student = Transformer(
            shape,
            src_vocab=teacher.src_vocab,
            tgt_vocab=teacher.tgt_vocab,
            shared=teacher.shared,
        ).eval()
        losses[f"random {seed}"] = dev_loss(student, *data)
    student.load_state_dict(inherit(teacher, shape, Layers((0,), (0,))))
    losses["pruned"] = dev_loss(student, *data)
    assert losses["teacher"] < losses["pruned"], losses
    assert losses["pruned"] < 0.8 * min(losses[f"random {seed}"] for seed in (1, 2, 3)), losses


@torch.no_grad()
def dev_loss(model, sources, references):
    rows = range(len(sources.lengths))
    src, ref = (torch.from_numpy(side.padded(rows, pad=PAD)) for side in (sources, references))
    logits = model(src, src != PAD, F.pad(ref[:, :-1], (1, 0), value=BOS))
    return float(F.cross_entropy(logits[ref != PAD], ref[ref != PAD]))
