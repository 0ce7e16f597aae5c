"""Gates: the share of the token-level loss in a sentence or token; the rest is sentence-level.

Wei et al. (2024) learn g(x) = σ(z(x)) with z a function of the source; the form of z is ours:
a linear map of the mean encoder state. B sentences, S source positions, N target positions where
the teacher's distributions are read, D width, V vocabulary.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from kdray.config import gates as configs
from kdray.methods.base import Clock, Target, sentence_means
from kdray.methods.kernel import label_log_probs
from kdray.methods.targets import TeacherTargets
from kdray.model.precision import no_rounding


@dataclass(frozen=True, slots=True)
class Scene:
    """What a gate may look at: the source, and the sequence on which the teacher is read."""

    memory_BSD: Tensor
    src_mask_BS: Tensor
    target: Target
    states_ND: Tensor  # the student's decoder states
    teacher: TeacherTargets
    weight_VD: Tensor  # the student's output matrix
    clock: Clock

    @property
    def sentences(self) -> int:
        """B."""
        return self.memory_BSD.size(0)


Config = TypeVar("Config", bound=configs.BaseGateConfig)


class Gate(nn.Module, ABC, Generic[Config]):
    """Weights of the token-level loss. A gate never trains the student through what it sees.

    Args:
        config: its configuration.
        width: D of the student.
    """

    def __init__(self, config: Config, width: int) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, scene: Scene) -> Tensor:
        """g, between 0 and 1. -> [B] or [N]."""


class SourceGate(Gate[Config]):
    """A gate that looks at nothing but the source, so a sentence without a translation has one."""

    def forward(self, scene: Scene) -> Tensor:
        """The gate of each sentence. -> [B]."""
        return self.of_source(scene.memory_BSD, scene.src_mask_BS, scene.clock)

    @abstractmethod
    def of_source(self, memory_BSD: Tensor, src_mask_BS: Tensor, clock: Clock) -> Tensor:
        """The gate of each sentence, from the encoder's states, at an update. -> [B]."""


class FixedGate(SourceGate[configs.FixedGateConfig]):
    """A constant."""

    def of_source(self, memory_BSD: Tensor, src_mask_BS: Tensor, clock: Clock) -> Tensor:
        """The constant g, everywhere the same. -> [B]."""
        return memory_BSD.new_full((len(memory_BSD),), self.config.value)


class ScheduleGate(SourceGate[configs.ScheduleGateConfig]):
    """From `start` at the first update to `end` at the last, by a line or half a cosine."""

    def of_source(self, memory_BSD: Tensor, src_mask_BS: Tensor, clock: Clock) -> Tensor:
        """The g of this update, everywhere the same. -> [B]."""
        start, end = self.config.start, self.config.end
        done = (clock.step - 1) / max(clock.updates - 1, 1)
        if self.config.shape == "cosine":
            done = (1 - math.cos(math.pi * done)) / 2
        return memory_BSD.new_full((len(memory_BSD),), start + (end - start) * done)


class ScalarGate(SourceGate[configs.ScalarGateConfig]):
    """One learned logit for all sentences."""

    def __init__(self, config: configs.ScalarGateConfig, width: int) -> None:
        super().__init__(config, width)
        self.logit = nn.Parameter(torch.tensor(_logit(config.initial)))

    def of_source(self, memory_BSD: Tensor, src_mask_BS: Tensor, clock: Clock) -> Tensor:
        """σ(logit), everywhere the same. -> [B]."""
        return torch.sigmoid(self.logit).expand(len(memory_BSD))


Linear = TypeVar("Linear", bound=configs.LearnedGateConfig)


class LinearGate(Gate[Linear]):
    """A gate with a linear map of width D, which gives `initial` everywhere before training."""

    def __init__(self, config: Linear, width: int) -> None:
        super().__init__(config, width)
        self.score = nn.Linear(width, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.constant_(self.score.bias, _logit(config.initial))


class SentenceGate(LinearGate[configs.SentenceGateConfig], SourceGate[configs.SentenceGateConfig]):
    """σ(w·mean_s(encoder_s) + b)."""

    def of_source(self, memory_BSD: Tensor, src_mask_BS: Tensor, clock: Clock) -> Tensor:
        """The gate of each sentence. -> [B]."""
        memory_BSD = memory_BSD.detach()
        mask = src_mask_BS.to(memory_BSD.dtype)
        with no_rounding(memory_BSD.device):
            mean = torch.einsum("bsd,bs->bd", memory_BSD, mask) / mask.sum(1, keepdim=True)
            return torch.sigmoid(self.score(mean).squeeze(1))


class TokenGate(LinearGate[configs.TokenGateConfig]):
    """σ(w·h_t + b) on the decoder states of the prefix that both losses share."""

    def forward(self, scene: Scene) -> Tensor:
        """The gate of each token. -> [N]."""
        with no_rounding(scene.states_ND.device):
            return torch.sigmoid(self.score(scene.states_ND.detach()).squeeze(1))


class EntropyGate(Gate[configs.EntropyGateConfig]):
    """The teacher's entropy, as a share of log V, against a threshold.

    The bucket of a sparse distribution counts as one entry, so its entropy is a lower bound. For a
    sentence, the mean entropy decides.
    """

    @torch.no_grad()
    def forward(self, scene: Scene) -> Tensor:
        """The gate of each sentence or token. -> [B] or [N]."""
        config = self.config
        share = scene.teacher.entropy() / math.log(scene.weight_VD.size(0))
        if not config.per_token:
            share = sentence_means(share, scene.target, sentences=scene.sentences)
        above = share - config.threshold
        gate = torch.sigmoid(above / config.width) if config.width else (above > 0).to(share.dtype)
        return gate if config.high == "token" else 1 - gate


class ConfidenceGate(Gate[configs.ConfidenceGateConfig]):
    """1 where the student gives the target more probability than the teacher does, else 0.

    The rule of Hard-Gate KD (Lee et al. 2022): a student that is surer than its teacher learns the
    teacher's distribution, the others learn the target. For a sentence, mean log-probabilities are
    compared. The student's is at temperature 1, the teacher's at that of its distributions.
    """

    @torch.no_grad()
    def forward(self, scene: Scene) -> Tensor:
        """The gate of each sentence or token. -> [B] or [N]."""
        labels = scene.target.labels_N
        student = label_log_probs(scene.states_ND, scene.weight_VD, labels)
        ahead = student - scene.teacher.log_labels(labels)
        if not self.config.per_token:
            ahead = sentence_means(ahead, scene.target, sentences=scene.sentences)
        return (ahead > 0).to(student.dtype)


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


GATES: Mapping[str, type[Gate[Any]]] = {
    "fixed": FixedGate,
    "schedule": ScheduleGate,
    "scalar": ScalarGate,
    "sentence": SentenceGate,
    "token": TokenGate,
    "entropy": EntropyGate,
    "confidence": ConfidenceGate,
}
"""Every gate, by the kind of its configuration."""


def build_gate(config: configs.GateConfig, width: int) -> Gate[Any]:
    """The gate that a config describes, for students of the given width."""
    return GATES[config.kind](config, width)
