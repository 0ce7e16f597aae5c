"""Gates: the share of the token-level loss in a sentence or token; the rest is sentence-level.

Wei et al. (2024) learn g(x) = σ(z(x)) with z a function of the source; the form of z is ours:
a linear map of the mean encoder state. B sentences, S source positions, N target positions where
the teacher's distributions are read, D width, V vocabulary.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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


class Gate(nn.Module, ABC):
    """Weights of the token-level loss. A gate never trains the student through what it sees."""

    per_token = False
    """Whether it gives one value for each of the N tokens, rather than for each sentence."""

    @abstractmethod
    def forward(self, scene: Scene) -> Tensor:
        """g, between 0 and 1. -> [B] or [N]."""


class FixedGate(Gate):
    """A constant."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, scene: Scene) -> Tensor:
        """The constant g, everywhere the same. -> [B]."""
        return scene.memory_BSD.new_full((scene.sentences,), self.value)


class ScheduleGate(Gate):
    """From `start` at the first update to `end` at the last, by a line or half a cosine."""

    def __init__(self, *, start: float, end: float, cosine: bool) -> None:
        super().__init__()
        self.start, self.end, self.cosine = start, end, cosine

    def forward(self, scene: Scene) -> Tensor:
        """The g of this update, everywhere the same. -> [B]."""
        done = (scene.clock.step - 1) / max(scene.clock.updates - 1, 1)
        if self.cosine:
            done = (1 - math.cos(math.pi * done)) / 2
        value = self.start + (self.end - self.start) * done
        return scene.memory_BSD.new_full((scene.sentences,), value)


class ScalarGate(Gate):
    """One learned logit for all sentences."""

    def __init__(self, *, initial: float) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(_logit(initial)))

    def forward(self, scene: Scene) -> Tensor:
        """σ(logit), everywhere the same. -> [B]."""
        return torch.sigmoid(self.logit).expand(scene.sentences)


class SentenceGate(Gate):
    """σ(w·mean_s(encoder_s) + b).

    Args:
        width: D of the encoder.
        initial: g before training, for every sentence.
    """

    def __init__(self, width: int, *, initial: float) -> None:
        super().__init__()
        self.score = _score(width, initial)

    def forward(self, scene: Scene) -> Tensor:
        """The gate of each sentence. -> [B]."""
        memory_BSD = scene.memory_BSD.detach()
        mask = scene.src_mask_BS.to(memory_BSD.dtype)
        with no_rounding(memory_BSD.device):
            mean = torch.einsum("bsd,bs->bd", memory_BSD, mask) / mask.sum(1, keepdim=True)
            return torch.sigmoid(self.score(mean).squeeze(1))


class TokenGate(Gate):
    """σ(w·h_t + b) on the decoder states of the prefix that both losses share."""

    per_token = True

    def __init__(self, width: int, *, initial: float) -> None:
        super().__init__()
        self.score = _score(width, initial)

    def forward(self, scene: Scene) -> Tensor:
        """The gate of each token. -> [N]."""
        with no_rounding(scene.states_ND.device):
            return torch.sigmoid(self.score(scene.states_ND.detach()).squeeze(1))


class EntropyGate(Gate):
    """The teacher's entropy, as a share of log V, against a threshold.

    The bucket of a sparse distribution counts as one entry, so its entropy is a lower bound.

    Args:
        threshold: the share at which g changes.
        width: 0 for a step; else g = σ((entropy − threshold)/width).
        high_is_token: whether an unsure teacher makes g large.
        per_token: else a sentence's mean entropy decides.
    """

    def __init__(
        self, *, threshold: float, width: float, high_is_token: bool, per_token: bool
    ) -> None:
        super().__init__()
        self.threshold, self.width = threshold, width
        self.high_is_token, self.per_token = high_is_token, per_token

    @torch.no_grad()
    def forward(self, scene: Scene) -> Tensor:
        """The gate of each sentence or token. -> [B] or [N]."""
        share = scene.teacher.entropy() / math.log(scene.weight_VD.size(0))
        if not self.per_token:
            share = sentence_means(share, scene.target, sentences=scene.sentences)
        above = share - self.threshold
        gate = torch.sigmoid(above / self.width) if self.width else (above > 0).to(share.dtype)
        return gate if self.high_is_token else 1 - gate


class ConfidenceGate(Gate):
    """1 where the student gives the target more probability than the teacher does, else 0.

    The rule of Hard-Gate KD (Lee et al. 2022): a student that is surer than its teacher learns the
    teacher's distribution, the others learn the target. For a sentence, mean log-probabilities are
    compared. The student's is at temperature 1, the teacher's at that of its distributions.
    """

    def __init__(self, *, per_token: bool) -> None:
        super().__init__()
        self.per_token = per_token

    @torch.no_grad()
    def forward(self, scene: Scene) -> Tensor:
        """The gate of each sentence or token. -> [B] or [N]."""
        labels = scene.target.labels_N
        student = label_log_probs(scene.states_ND, scene.weight_VD, labels)
        ahead = student - scene.teacher.log_labels(labels)
        if not self.per_token:
            ahead = sentence_means(ahead, scene.target, sentences=scene.sentences)
        return (ahead > 0).to(student.dtype)


def _score(width: int, initial: float) -> nn.Linear:
    score = nn.Linear(width, 1)
    nn.init.zeros_(score.weight)
    nn.init.constant_(score.bias, _logit(initial))
    return score


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
