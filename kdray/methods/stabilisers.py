"""What keeps a learned gate from sliding to whichever loss is numerically smaller.

Back-propagating g·L_token + (1−g)·L_sentence into g has the gradient L_token − L_sentence, which
says nothing of what the losses teach. G gate values: of B sentences or of N tokens.
"""

import math
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from kdray.config import gates as configs
from kdray.config.base import Frozen

LOSS_TOKEN = "loss/token"
LOSS_SENTENCE = "loss/sentence"


Config = TypeVar("Config", bound=Frozen)


class Stabiliser(nn.Module, Generic[Config]):
    """No stabiliser: the control.

    Args:
        config: its configuration.
        initial: g before training.
    """

    def __init__(self, config: Config, initial: float) -> None:
        super().__init__()
        self.config, self.initial = config, initial

    def mixing_weights(self, gate_G: Tensor) -> Tensor:
        """The g that weighs the losses; detached where the gate learns from elsewhere. -> [G]."""
        return gate_G

    def penalty(self, gate_G: Tensor, token_G: Tensor, sentence_G: Tensor) -> Tensor | None:
        """A term for each value that only the gate learns from, or None. -> [G].

        token_G and sentence_G are the losses per token there, without gradient.
        """
        return None

    def after_update(self, averages: Mapping[str, float]) -> None:
        """See the update's average losses."""


class Prior(Stabiliser[configs.PriorConfig]):
    """Holds g near its start: + strength·KL(Bern(g) ‖ Bern(initial))."""

    def penalty(self, gate_G: Tensor, token_G: Tensor, sentence_G: Tensor) -> Tensor:
        """strength·KL for each value. -> [G]."""
        return self.config.strength * bernoulli_kl(gate_G, self.initial)


class Centred(Stabiliser[configs.CentredConfig]):
    """g learns from losses less their running means.

    Which loss is larger on average then has no pull; what remains is how a sentence's losses
    differ from the average sentence's. With momentum the means lag behind losses that fall, and the
    lag is a pull of its own: with 0.99 a gate slid from 0.5 to 0.02 in 300 updates (docs/LOG.md).
    Without momentum they are those of the update before.
    """

    token_mean: Tensor
    sentence_mean: Tensor

    def __init__(self, config: configs.CentredConfig, initial: float) -> None:
        super().__init__(config, initial)
        self.register_buffer("token_mean", torch.tensor(math.nan))
        self.register_buffer("sentence_mean", torch.tensor(math.nan))

    def mixing_weights(self, gate_G: Tensor) -> Tensor:
        """The gate without its gradient. -> [G]."""
        return gate_G.detach()

    def penalty(self, gate_G: Tensor, token_G: Tensor, sentence_G: Tensor) -> Tensor:
        """Zero in value; its gradient in g is the centred difference of the losses. -> [G]."""
        centred = (token_G - self.token_mean) - (sentence_G - self.sentence_mean)
        return (gate_G - gate_G.detach()) * centred.nan_to_num(0.0)

    def after_update(self, averages: Mapping[str, float]) -> None:
        """Move the running means; the first update sets them."""
        momentum = self.config.momentum
        for mean, name in ((self.token_mean, LOSS_TOKEN), (self.sentence_mean, LOSS_SENTENCE)):
            new = averages[name]
            mean.fill_(new if mean.isnan() else momentum * mean + (1 - momentum) * new)


class Bilevel(Stabiliser[configs.BilevelConfig]):
    """The gate's parameters are left to `kdray.fit.bilevel`, which steps them on the dev loss."""

    def mixing_weights(self, gate_G: Tensor) -> Tensor:
        """The gate without its gradient. -> [G]."""
        return gate_G.detach()


STABILISERS: Mapping[str, type[Stabiliser[Any]]] = {
    "none": Stabiliser,
    "prior": Prior,
    "centred": Centred,
    "bilevel": Bilevel,
}
"""Every stabiliser, by the kind of its configuration."""


def build_stabiliser(gate: configs.BaseGateConfig) -> Stabiliser[Any]:
    """What steadies a gate; nothing for gates that do not learn."""
    if not isinstance(gate, configs.LearnedGateConfig):
        return Stabiliser(configs.NoStabiliserConfig(kind="none"), initial=math.nan)
    return STABILISERS[gate.stabiliser.kind](gate.stabiliser, gate.initial)


def bernoulli_kl(gate_G: Tensor, prior: float) -> Tensor:
    """KL(Bern(g) ‖ Bern(prior)) in nats; at 0 and 1 the limit, with a finite gradient. -> [G]."""
    least = torch.finfo(gate_G.dtype).tiny
    other = 1 - gate_G
    ours, theirs = (gate_G / prior).clamp_min(least), (other / (1 - prior)).clamp_min(least)
    return torch.xlogy(gate_G, ours) + torch.xlogy(other, theirs)
