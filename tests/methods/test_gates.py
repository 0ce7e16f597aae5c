"""Gates: where they start, what they look at; stabilisers: which gates slide, and which do not."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from method_examples import GATES
from pydantic import TypeAdapter
from toy_teacher import soft_targets

from kdray.config.gates import GateConfig
from kdray.methods.base import Clock, Target
from kdray.methods.gates import Scene, build_gate
from kdray.methods.stabilisers import (
    LOSS_SENTENCE,
    LOSS_TOKEN,
    Bilevel,
    Centred,
    Prior,
    Stabiliser,
    bernoulli_kl,
    build_stabiliser,
)
from kdray.methods.targets import DenseTargets, Member

WIDTH, VOCAB = 6, 7
INNER = st.floats(0.001, 0.999)
LEARNED = [name for name, gate in GATES.items() if "stabiliser" in gate]
TOKENS = (1, 2, 3, 4, 4, 3, 2, 1)  # of each sentence


def scene(*, seed=0, clock=Clock(), teacher_size=2.0, k=None):
    """Eight sentences with their sources, states and teacher."""
    torch.manual_seed(seed)
    sentences, tokens = len(TOKENS), sum(TOKENS)
    mask = torch.arange(5)[None, :] < torch.randint(1, 6, (sentences, 1))
    sentence = torch.arange(sentences).repeat_interleave(torch.tensor(TOKENS))
    nowhere = torch.zeros(0, dtype=torch.long)
    target = Target(nowhere, nowhere, torch.randint(VOCAB, (tokens,)), sentence)
    logits = teacher_size * torch.randn(tokens, VOCAB)
    teacher = DenseTargets((Member(logits, torch.eye(VOCAB)),))
    if k is not None:
        teacher = soft_targets(logits, k=k, labels_N=target.labels_N)
    return Scene(
        torch.randn(sentences, 5, WIDTH),
        mask,
        target,
        torch.randn(tokens, WIDTH),
        teacher,
        torch.randn(VOCAB, WIDTH),
        clock,
    )


def gate_of(raw, **numbers):
    config = TypeAdapter(GateConfig).validate_python({**raw, **numbers})
    return build_gate(config, WIDTH), build_stabiliser(config)


def sentence_gate(initial=0.5):
    return gate_of({"kind": "sentence"}, initial=initial)[0]


def stabiliser_of(kind, *, initial=0.5, **numbers):
    return gate_of({"kind": "scalar", "stabiliser": {"kind": kind, **numbers}}, initial=initial)[1]


def learn(stabiliser, *, token_B, sentence_B, initial=0.5, updates=150, rate=0.1,
          optimizer=torch.optim.Adam):  # fmt: skip
    """Train a gate as the hybrid does, on losses that stay what they are. -> g of each sentence."""
    gate, seen = sentence_gate(initial), scene()
    steps = optimizer(gate.parameters(), lr=rate)
    for _ in range(updates):
        g = gate(seen)
        mixing = stabiliser.mixing_weights(g)
        loss = (mixing * token_B + (1 - mixing) * sentence_B).mean()
        penalty = stabiliser.penalty(g, token_B, sentence_B)
        if penalty is not None:
            loss = loss + penalty.mean()
        steps.zero_grad()
        if loss.requires_grad:
            loss.backward()
            steps.step()
        stabiliser.after_update(
            {LOSS_TOKEN: float(token_B.mean()), LOSS_SENTENCE: float(sentence_B.mean())}
        )
    return gate(seen).detach()


@given(INNER, INNER)
def test_kl_is_the_divergence_of_two_coins(g, prior):
    found = float(bernoulli_kl(torch.tensor(g, dtype=torch.float64), prior))
    expected = g * math.log(g / prior) + (1 - g) * math.log((1 - g) / (1 - prior))
    assert math.isclose(found, expected, abs_tol=1e-12)
    assert found >= -1e-12


@given(INNER)
def test_kl_to_itself_is_zero(prior):
    assert abs(float(bernoulli_kl(torch.tensor(prior, dtype=torch.float64), prior))) < 1e-15


def test_kl_at_the_ends_is_the_limit_and_has_a_finite_gradient():
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    found = bernoulli_kl(ends, 0.2)
    expected = torch.tensor([-math.log(0.8), -math.log(0.2)], dtype=torch.float64)
    torch.testing.assert_close(found.detach(), expected)
    found.sum().backward()
    assert ends.grad.isfinite().all()


def test_a_saturated_gate_can_still_be_trained_by_its_prior():
    gate = sentence_gate(1 - 1e-9)  # 1 in single precision
    g = gate(scene())
    assert (g == 1).all()
    stabiliser_of("prior", strength=0.1).penalty(g, g, g).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in gate.parameters())


@pytest.mark.parametrize("name", LEARNED)
@pytest.mark.parametrize("initial", [0.2, 0.9])
def test_a_learned_gate_starts_at_initial_everywhere(name, initial):
    gate, _ = gate_of(GATES[name], initial=initial)
    values = len(TOKENS) if not gate.config.per_token else sum(TOKENS)
    torch.testing.assert_close(gate(scene()), torch.full((values,), initial))
    assert all(parameter.requires_grad for parameter in gate.parameters())


@pytest.mark.parametrize("name", GATES)
def test_configs_build_the_stabilisers_they_name(name):
    gate, stabiliser = gate_of(GATES[name])
    found = {"prior": Prior, "centred": Centred, "bilevel": Bilevel}
    kind = GATES[name].get("stabiliser", {}).get("kind")
    assert type(stabiliser) is found.get(kind, Stabiliser)
    if kind is None:
        assert not list(gate.parameters()), "only what learns is steadied"
    if kind == "prior":
        assert stabiliser.initial == GATES[name]["initial"]


@pytest.mark.parametrize("name", GATES)
def test_a_gate_lies_between_zero_and_one_and_trains_nothing_but_itself(name):
    gate, _ = gate_of(GATES[name])
    for parameter in gate.parameters():
        torch.nn.init.normal_(parameter)
    seen = scene()
    leaves = [t.requires_grad_() for t in (seen.memory_BSD, seen.states_ND, seen.weight_VD)]
    g = gate(seen)
    assert ((g >= 0) & (g <= 1)).all()
    assert len(g) == (sum(TOKENS) if gate.config.per_token else len(TOKENS))
    if list(gate.parameters()):
        g.sum().backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in gate.parameters())
    assert not g.requires_grad or all(leaf.grad is None for leaf in leaves)


def test_a_sentence_gate_reads_the_source_and_not_its_padding():
    gate = sentence_gate()
    torch.nn.init.normal_(gate.score.weight)
    seen = scene()
    memory = torch.where(seen.src_mask_BS[:, :, None], seen.memory_BSD, 1e3)
    torch.testing.assert_close(gate(replace(seen, memory_BSD=memory)), gate(seen))
    assert gate(seen).unique().numel() == len(TOKENS)


def test_a_token_gate_reads_the_states_of_its_tokens():
    gate, _ = gate_of({"kind": "token"})
    torch.nn.init.normal_(gate.score.weight)
    seen = scene()
    moved = seen.states_ND.clone()
    moved[3] += 1
    changed = gate(replace(seen, states_ND=moved)) != gate(seen)
    assert changed.nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize(
    ("shape", "middle"),
    [("linear", [0.9, 0.7, 0.5, 0.3, 0.1]), ("cosine", [0.9, None, 0.5, None, 0.1])],
)
def test_a_schedule_goes_from_its_start_to_its_end(shape, middle):
    gate, _ = gate_of({"kind": "schedule", "start": 0.9, "end": 0.1, "shape": shape})
    found = [gate(scene(clock=Clock(step, 5, 0))) for step in range(1, 6)]
    assert all(g.unique().numel() == 1 for g in found)
    values = [float(g[0]) for g in found]
    assert all(math.isclose(v, m, rel_tol=1e-6) for v, m in zip(values, middle, strict=True) if m)
    assert values == sorted(values, reverse=True)
    linear = 0.9 - 0.8 / 4
    assert values[1] == pytest.approx(linear) if shape == "linear" else values[1] > linear + 0.05


def test_a_schedule_of_one_update_is_at_its_start():
    gate, _ = gate_of(GATES["line"])
    assert float(gate(scene(clock=Clock(1, 1, 0)))[0]) == pytest.approx(0.9)


@pytest.mark.parametrize("k", [None, VOCAB])
def test_an_unsure_teacher_opens_the_entropy_gate(k):
    """Uniform is a share of 1, sure is 0; a hard step and a soft one in either direction."""
    for high in (True, False):
        for width in (0.0, 0.1):
            raw = {"kind": "entropy", "threshold": 0.5, "width": width}
            gate, _ = gate_of(raw, high="token" if high else "sentence")
            unsure, sure = (gate(scene(teacher_size=size, k=k)) for size in (0.0, 100.0))
            ends = (1.0, 0.0) if high else (0.0, 1.0)
            tolerance = 1e-6 if width == 0 else 0.01
            torch.testing.assert_close(unsure, torch.full((8,), ends[0]), rtol=0, atol=tolerance)
            torch.testing.assert_close(sure, torch.full((8,), ends[1]), rtol=0, atol=tolerance)


def test_the_confidence_gate_compares_the_probabilities_of_the_target():
    seen = scene()
    labels = seen.target.labels_N
    rows = torch.arange(len(labels))
    student = (seen.states_ND @ seen.weight_VD.T).softmax(1)[rows, labels]
    teacher = seen.teacher.logits().softmax(1)[rows, labels]
    found = gate_of(GATES["confidence_token"])[0](seen)
    assert found.tolist() == (student > teacher).float().tolist()
    assert 0 < found.mean() < 1


@pytest.mark.slow
def test_without_a_stabiliser_the_gate_slides_to_the_smaller_loss():
    small, large = torch.full((8,), 1.0), torch.full((8,), 3.0)
    assert (learn(stabiliser_of("none"), token_B=small, sentence_B=large) > 0.95).all()
    assert (learn(stabiliser_of("none"), token_B=large, sentence_B=small) < 0.05).all()


@pytest.mark.slow
def test_prior_holds_the_gate_where_both_pulls_are_equal():
    """d/dg: L_token − L_sentence + strength·(logit g − logit g0) = 0."""
    found = learn(
        stabiliser_of("prior", initial=0.3, strength=2.0),
        token_B=torch.full((8,), 1.0),
        sentence_B=torch.full((8,), 3.0),
        initial=0.3,
    )
    expected = math.log(0.3 / 0.7) + (3.0 - 1.0) / 2.0
    torch.testing.assert_close(found.logit(), torch.full((8,), expected), rtol=0, atol=0.05)


@pytest.mark.slow
def test_a_centred_gate_does_not_slide():
    """With plain gradient steps: Adam would blow the rounding of a zero gradient up to its rate."""
    small, large = torch.full((8,), 1.0), torch.full((8,), 3.0)
    found = learn(
        stabiliser_of("centred", momentum=0.9),
        token_B=small,
        sentence_B=large,
        optimizer=torch.optim.SGD,
    )
    torch.testing.assert_close(found, torch.full((8,), 0.5), rtol=0, atol=1e-3)


@pytest.mark.slow
def test_a_centred_gate_still_learns_which_sentences_differ():
    """Relative to the others, half of the sentences have a smaller token-level loss."""
    token = torch.tensor([1.0, 2.0] * 4)
    found = learn(
        stabiliser_of("centred", momentum=0.9), token_B=token, sentence_B=torch.full((8,), 9.0)
    )
    assert found[0::2].mean() > found[1::2].mean() + 0.3


def test_a_bilevel_gate_learns_nothing_from_the_mixture():
    small, large = torch.full((8,), 1.0), torch.full((8,), 3.0)
    stabiliser = stabiliser_of("bilevel", every=1, dev_tokens=16, epsilon=0.01)
    assert torch.equal(learn(stabiliser, token_B=small, sentence_B=large), torch.full((8,), 0.5))


def test_a_centred_penalty_is_zero_in_value_and_waits_for_its_means():
    stabiliser, gate = stabiliser_of("centred", momentum=0.5), sentence_gate()
    g = gate(scene())
    token_B, sentence_B = torch.rand(8), torch.rand(8)
    first = stabiliser.penalty(g, token_B, sentence_B)
    assert not first.any()
    first.sum().backward()
    assert not gate.score.bias.grad.any()  # no mean yet: nothing to compare with
    stabiliser.after_update({LOSS_TOKEN: 1.0, LOSS_SENTENCE: 4.0})
    stabiliser.after_update({LOSS_TOKEN: 2.0, LOSS_SENTENCE: 2.0})
    assert (float(stabiliser.token_mean), float(stabiliser.sentence_mean)) == (1.5, 3.0)


def test_running_means_are_saved():
    stabiliser = stabiliser_of("centred", momentum=0.5)
    stabiliser.after_update({LOSS_TOKEN: 1.0, LOSS_SENTENCE: 4.0})
    other = stabiliser_of("centred", momentum=0.5)
    other.load_state_dict(stabiliser.state_dict())
    assert (float(other.token_mean), float(other.sentence_mean)) == (1.0, 4.0)
