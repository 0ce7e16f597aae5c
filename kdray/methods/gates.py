"""Gates: how much of the token-level loss a sentence takes, the rest being sentence-level.

Wei et al. (2024) learn g(x) = σ(z(x)) with z a function of the source; the form of z is ours:
a linear map of the mean encoder state. A learned gate that is trained on the mixture alone has
the gradient L_token − L_sentence and slides to whichever loss is numerically smaller; the
stabilisers work against that.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

LOSS_TOKEN = "loss/token"
LOSS_SENTENCE = "loss/sentence"


class Gate(nn.Module, ABC):
    """Weights of the token-level loss for the sentences of a batch."""

    @abstractmethod
    def forward(self, memory_BSD: Tensor, src_mask_BS: Tensor) -> Tensor:
        """g, between 0 and 1. -> [B]."""

    def mixing_weights(self, gate_B: Tensor) -> Tensor:
        """The g that weighs the losses; detached where the gate learns from elsewhere. -> [B]."""
        return gate_B

    def penalty(self, gate_B: Tensor, token_B: Tensor, sentence_B: Tensor) -> Tensor | None:
        """A term for each sentence that only the gate learns from, or None. -> [B].

        token_B and sentence_B are the sentences' losses per token, without gradient.
        """
        return None

    def after_update(self, averages: Mapping[str, float]) -> None:
        """See the update's average losses."""


class FixedGate(Gate):
    """A constant."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, memory_BSD: Tensor, src_mask_BS: Tensor) -> Tensor:
        """The constant g, everywhere the same. -> [B]."""
        return memory_BSD.new_full((memory_BSD.size(0),), self.value)


class SentenceGate(Gate):
    """σ(w·mean_s(encoder_s) + b). It reads the encoder and does not train it.

    Args:
        width: D of the encoder.
        initial: g before training, for every sentence.
    """

    def __init__(self, width: int, *, initial: float) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.constant_(self.score.bias, math.log(initial / (1 - initial)))

    def forward(self, memory_BSD: Tensor, src_mask_BS: Tensor) -> Tensor:
        """The gate of each sentence. -> [B]."""
        mask = src_mask_BS.to(memory_BSD.dtype)
        mean = torch.einsum("bsd,bs->bd", memory_BSD.detach(), mask) / mask.sum(1, keepdim=True)
        return torch.sigmoid(self.score(mean).squeeze(1))


class PriorGate(SentenceGate):
    """A sentence gate held near its start: + strength·KL(Bern(g) ‖ Bern(initial))."""

    def __init__(self, width: int, *, initial: float, strength: float) -> None:
        super().__init__(width, initial=initial)
        self.initial = initial
        self.strength = strength

    def penalty(self, gate_B: Tensor, token_B: Tensor, sentence_B: Tensor) -> Tensor:
        """strength·KL for each sentence. -> [B]."""
        return self.strength * bernoulli_kl(gate_B, self.initial)


class CentredGate(SentenceGate):
    """A sentence gate that learns from losses less their running means.

    Which loss is larger on average then has no pull; what remains is how a sentence's losses
    differ from the average sentence's.
    """

    token_mean: Tensor
    sentence_mean: Tensor

    def __init__(self, width: int, *, initial: float, momentum: float) -> None:
        super().__init__(width, initial=initial)
        self.momentum = momentum
        self.register_buffer("token_mean", torch.tensor(math.nan))
        self.register_buffer("sentence_mean", torch.tensor(math.nan))

    def mixing_weights(self, gate_B: Tensor) -> Tensor:
        """The gate without its gradient. -> [B]."""
        return gate_B.detach()

    def penalty(self, gate_B: Tensor, token_B: Tensor, sentence_B: Tensor) -> Tensor:
        """Zero in value; its gradient in g is the centred difference of the losses. -> [B]."""
        centred = (token_B - self.token_mean) - (sentence_B - self.sentence_mean)
        return (gate_B - gate_B.detach()) * centred.nan_to_num(0.0)

    def after_update(self, averages: Mapping[str, float]) -> None:
        """Move the running means; the first update sets them."""
        for mean, name in ((self.token_mean, LOSS_TOKEN), (self.sentence_mean, LOSS_SENTENCE)):
            new = averages[name]
            mean.fill_(new if mean.isnan() else self.momentum * mean + (1 - self.momentum) * new)


def bernoulli_kl(gate_B: Tensor, prior: float) -> Tensor:
    """KL(Bern(g) ‖ Bern(prior)) in nats; at 0 and 1 the limit, with a finite gradient. -> [B]."""
    least = torch.finfo(gate_B.dtype).tiny
    other = 1 - gate_B
    ours, theirs = (gate_B / prior).clamp_min(least), (other / (1 - prior)).clamp_min(least)
    return torch.xlogy(gate_B, ours) + torch.xlogy(other, theirs)
