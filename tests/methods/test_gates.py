"""Gates: where they start, what they learn from, and which of them slide."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from toy_distillation import GATES

from kdray.config import GateConfig
from kdray.methods.build import build_gate
from kdray.methods.gates import (
    LOSS_SENTENCE,
    LOSS_TOKEN,
    CentredGate,
    FixedGate,
    PriorGate,
    SentenceGate,
    bernoulli_kl,
)

WIDTH = 6
INNER = st.floats(0.001, 0.999)


def source(sentences=8, *, seed=0):
    torch.manual_seed(seed)
    mask = torch.arange(5)[None, :] < torch.randint(1, 6, (sentences, 1))
    return torch.randn(sentences, 5, WIDTH), mask


def learn(gate, *, token_B, sentence_B, updates=150, rate=0.1, optimizer=torch.optim.Adam):
    """Train a gate as the hybrid does, on losses that stay what they are. -> g of each sentence."""
    memory, mask = source(len(token_B))
    steps = optimizer(gate.parameters(), lr=rate)
    for _ in range(updates):
        g = gate(memory, mask)
        mixing = gate.mixing_weights(g)
        loss = (mixing * token_B + (1 - mixing) * sentence_B).mean()
        penalty = gate.penalty(g, token_B, sentence_B)
        if penalty is not None:
            loss = loss + penalty.mean()
        steps.zero_grad()
        if loss.requires_grad:
            loss.backward()
            steps.step()
        gate.after_update(
            {LOSS_TOKEN: float(token_B.mean()), LOSS_SENTENCE: float(sentence_B.mean())}
        )
    return gate(memory, mask).detach()


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


def test_a_saturated_prior_gate_can_still_be_trained():
    gate = PriorGate(WIDTH, initial=1 - 1e-9, strength=0.1)  # 1 in single precision
    g = gate(*source())
    gate.penalty(g, g, g).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in gate.parameters())


@pytest.mark.parametrize("name", [name for name in GATES if name != "fixed"])
@pytest.mark.parametrize("initial", [0.2, 0.5, 0.9])
def test_learned_gate_starts_at_initial_for_every_sentence(name, initial):
    config = TypeAdapter(GateConfig).validate_python({**GATES[name], "initial": initial})
    found = build_gate(config, width=WIDTH)(*source())
    torch.testing.assert_close(found, torch.full((8,), initial))


def test_configs_build_the_gates_they_name():
    built = {
        name: type(build_gate(TypeAdapter(GateConfig).validate_python(raw), width=WIDTH))
        for name, raw in GATES.items()
    }
    assert built == {
        "fixed": FixedGate,
        "prior": PriorGate,
        "centred": CentredGate,
        "none": SentenceGate,
    }


def test_fixed_gate_is_its_value():
    torch.testing.assert_close(FixedGate(0.3)(*source()), torch.full((8,), 0.3))
    assert list(FixedGate(0.3).parameters()) == []


def test_gate_does_not_train_the_encoder_but_itself():
    gate = SentenceGate(WIDTH, initial=0.5)
    torch.nn.init.normal_(gate.score.weight)
    memory, mask = source()
    memory.requires_grad_()
    gate(memory, mask).sum().backward()
    assert memory.grad is None
    assert gate.score.weight.grad.abs().sum() > 0


def test_gate_reads_the_source_and_not_its_padding():
    gate = SentenceGate(WIDTH, initial=0.5)
    torch.nn.init.normal_(gate.score.weight)
    memory, mask = source()
    other = torch.where(mask[:, :, None], memory, 1e3)
    torch.testing.assert_close(gate(other, mask), gate(memory, mask))
    assert gate(memory, mask).unique().numel() == 8


def test_without_a_stabiliser_the_gate_slides_to_the_smaller_loss():
    small, large = torch.full((8,), 1.0), torch.full((8,), 3.0)
    assert (learn(SentenceGate(WIDTH, initial=0.5), token_B=small, sentence_B=large) > 0.95).all()
    assert (learn(SentenceGate(WIDTH, initial=0.5), token_B=large, sentence_B=small) < 0.05).all()


def test_prior_holds_the_gate_where_both_pulls_are_equal():
    """d/dg: L_token − L_sentence + strength·(logit g − logit g0) = 0."""
    gate = PriorGate(WIDTH, initial=0.3, strength=2.0)
    found = learn(gate, token_B=torch.full((8,), 1.0), sentence_B=torch.full((8,), 3.0))
    expected = math.log(0.3 / 0.7) + (3.0 - 1.0) / 2.0
    torch.testing.assert_close(found.logit(), torch.full((8,), expected), rtol=0, atol=0.05)


def test_centred_gate_does_not_slide():
    """With plain gradient steps: Adam would blow the rounding of a zero gradient up to its rate."""
    gate = CentredGate(WIDTH, initial=0.5, momentum=0.9)
    small, large = torch.full((8,), 1.0), torch.full((8,), 3.0)
    found = learn(gate, token_B=small, sentence_B=large, optimizer=torch.optim.SGD)
    torch.testing.assert_close(found, torch.full((8,), 0.5), rtol=0, atol=1e-3)


def test_centred_gate_still_learns_which_sentences_differ():
    """Relative to the others, half of the sentences have a smaller token-level loss."""
    token = torch.tensor([1.0, 2.0] * 4)
    gate = CentredGate(WIDTH, initial=0.5, momentum=0.9)
    found = learn(gate, token_B=token, sentence_B=torch.full((8,), 9.0))
    assert found[0::2].mean() > found[1::2].mean() + 0.3


def test_centred_penalty_is_zero_in_value_and_waits_for_its_means():
    gate = CentredGate(WIDTH, initial=0.5, momentum=0.5)
    g = gate(*source())
    token_B, sentence_B = torch.rand(8), torch.rand(8)
    first = gate.penalty(g, token_B, sentence_B)
    assert not first.any()
    first.sum().backward()
    assert not gate.score.bias.grad.any()  # no mean yet: nothing to compare with
    gate.after_update({LOSS_TOKEN: 1.0, LOSS_SENTENCE: 4.0})
    gate.after_update({LOSS_TOKEN: 2.0, LOSS_SENTENCE: 2.0})
    assert (float(gate.token_mean), float(gate.sentence_mean)) == (1.5, 3.0)


def test_running_means_are_saved_with_the_gate():
    gate = CentredGate(WIDTH, initial=0.5, momentum=0.5)
    gate.after_update({LOSS_TOKEN: 1.0, LOSS_SENTENCE: 4.0})
    other = CentredGate(WIDTH, initial=0.5, momentum=0.5)
    other.load_state_dict(gate.state_dict())
    assert (float(other.token_mean), float(other.sentence_mean)) == (1.0, 4.0)
