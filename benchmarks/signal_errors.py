"""Errors of token-level distillation from a signal against the dense loss, for `signals.py`.

Shapes: U updates, P parameters of the student.
"""

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kdray.artifacts import Brought
from kdray.config.methods.token_level import TokenLevelConfig
from kdray.errors import DataError
from kdray.fit.data import Distributions, TrainingData
from kdray.methods.base import packed_states, teacher_of
from kdray.methods.divergence import Divergence
from kdray.model.storage import load_model, load_shape
from kdray.model.transformer import Transformer
from kdray.schema import View
from kdray.teacher.ensemble import read_pairs
from kdray.teacher.own import OnlineModels, OwnModels
from kdray.teacher.stored import Read
from kdray.text.batching import Rows
from kdray.text.encoded import EncodedSplit

CPU = torch.device("cpu")
SEED = 1  # of the order of pairs


@dataclass(frozen=True)
class World:
    """Both models, with the student in float64, and pairs in random batches of an update's size."""

    teacher: OnlineModels
    student: Transformer
    data: TrainingData
    batches: Sequence[Rows]

    @classmethod
    def load(
        cls,
        teachers: Sequence[Path],
        student: Path,
        split: EncodedSplit,
        *,
        pairs: int,
        tokens: int,
    ) -> "World":
        """Read the models; pairs that one of them cannot read are left out.

        pairs: the highest number of pairs, 0 for all. tokens: target tokens of an update.

        Raises:
            DataError: the student has another tokenizer than the teacher, or no pair is left.
        """
        ours, theirs = (load_shape(folder).tokenizer for folder in (student, teachers[0]))
        if ours != theirs:
            raise DataError(
                f"{student}: has the tokenizer {ours}, but the teacher {teachers[0]} has {theirs}"
            )
        members = OwnModels(tuple(Brought(folder, "") for folder in teachers))
        teacher = members.reader(lambda member: member.path, device="cpu")
        learner = load_model(student)
        longest = np.maximum(split.src.lengths, split.ref.lengths)
        fits = np.flatnonzero(longest <= min(teacher.positions, learner.config.max_length))
        rows = fits[: pairs or None]
        if not len(rows):
            raise DataError(f"none of the {len(split)} pairs is short enough for both models")
        data = TrainingData(
            pair_ids=split.pair_ids[rows],
            src=split.src.take(rows),
            views={View.REFERENCE: split.ref.take(rows)},
            distributions={},
            left_out={"longer than a model can read": len(split) - len(fits)},
            teacher=teacher,
        )
        order = np.random.default_rng(SEED).permutation(len(rows))
        updates = max(1, round(int(split.ref.lengths[rows].sum()) / tokens))
        return cls(teacher, learner.double(), data, np.array_split(order, min(updates, len(rows))))

    @property
    def tokens(self) -> int:
        """Target tokens of all batches."""
        return int(self.data.views[View.REFERENCE].lengths.sum())

    def read(self, teacher: OnlineModels) -> Iterator[Read]:
        """The teacher's distributions for each batch."""
        refs = self.data.views[View.REFERENCE]
        for rows in self.batches:
            said, target = read_pairs(teacher, self.data.src, refs, rows)
            yield Read(rows, target.labels_N, said)


@dataclass(frozen=True)
class Learnt:
    """Loss and teacher's entropy over all pairs, in nats per token, and each update's gradient."""

    temperature: float
    loss: float
    entropy: float
    gradient_UP: Tensor


def dense(world: World, temperature: float) -> Learnt:
    """The KL divergence over the whole vocabulary in plain PyTorch, with a teacher in float64."""
    teacher = OnlineModels([deepcopy(model).double() for model in world.teacher.models])
    student = world.student
    loss, entropy, gradients = 0.0, 0.0, []
    for read in world.read(teacher):
        batch = world.data.batch(read.rows, device=CPU)
        memory = student.encode(batch.src_BS, batch.src_mask_BS)
        states = packed_states(student, batch, View.REFERENCE, memory_BSD=memory)
        log_p = (read.teacher.logits() / temperature).log_softmax(1)
        log_q = (F.linear(states, student.output_weight) / temperature).log_softmax(1)
        kl = F.kl_div(log_q, log_p, reduction="sum", log_target=True)
        loss += float(kl.detach())
        entropy -= float((log_p.exp() * log_p).sum())
        gradients.append(_gradient(student, temperature**2 * kl / len(log_p)))
    tokens = world.tokens
    return Learnt(temperature, loss / tokens, entropy / tokens, torch.stack(gradients))


def learn(world: World, temperature: float, stored: Distributions | None) -> Learnt:
    """The same by kdray's method, from what is stored or from the teacher beside the student."""
    config = TokenLevelConfig(
        kind="token_level", alpha=1.0, temperature=temperature, label_smoothing=0.0
    )
    method = Divergence(config, world.student)
    data = replace(world.data, distributions={} if stored is None else {View.REFERENCE: stored})
    loss, entropy, gradients = 0.0, 0.0, []
    for rows in world.batches:
        batch = data.with_teacher(data.batch(rows, device=CPU), rows, method.needs)
        of_tokens = teacher_of(batch, View.REFERENCE).entropy().double()
        sums = method(world.student, batch)
        (total,) = sums.terms.values()  # alpha is one, so this is T² times the KL
        loss += float(sums.parts["loss/token"][0])
        entropy += float(of_tokens.sum())
        gradients.append(_gradient(world.student, total / len(of_tokens)))
    tokens = world.tokens
    return Learnt(temperature, loss / tokens, entropy / tokens, torch.stack(gradients))


def _gradient(student: Transformer, loss: Tensor) -> Tensor:
    """The gradient with respect to all parameters. -> [P]."""
    gradients = torch.autograd.grad(loss, list(student.parameters()))
    return torch.cat([gradient.flatten() for gradient in gradients])


class Errors:
    """The differences between the repeats of a signal and the dense loss."""

    def __init__(self, reference: Learnt) -> None:
        self.reference = reference
        self.losses: list[float] = []
        self.cross_entropies: list[float] = []
        self.squares = 0.0
        self.cosines: list[float] = []
        self.sum_UP = torch.zeros_like(reference.gradient_UP)

    def add(self, learnt: Learnt) -> None:
        """Add a repeat."""
        loss = learnt.loss - self.reference.loss
        self.losses.append(loss)
        self.cross_entropies.append(loss + learnt.entropy - self.reference.entropy)
        error_UP = learnt.gradient_UP - self.reference.gradient_UP
        self.squares += float(error_UP.square().sum())
        self.sum_UP += error_UP
        sizes = learnt.gradient_UP.norm() * self.reference.gradient_UP.norm()
        product = (learnt.gradient_UP * self.reference.gradient_UP).sum()
        self.cosines.append(float(product / sizes))

    def row(self) -> dict[str, Any]:
        """The figures that the docstring of `signals.py` explains."""
        repeats, size = len(self.losses), float(self.reference.gradient_UP.norm())
        bias = float(self.sum_UP.norm()) / repeats
        noise, of_loss = 0.0, 0.0
        if repeats > 1:
            noise = math.sqrt(max(self.squares - repeats * bias**2, 0.0) / (repeats - 1))
            of_loss = float(np.std(self.cross_entropies, ddof=1))
        loss = float(np.mean(self.losses))
        return {
            "repeats": repeats,
            "bias": loss,
            "bias_relative": loss / self.reference.loss,
            "cross_entropy_bias": float(np.mean(self.cross_entropies)),
            "cross_entropy_noise": of_loss,
            "gradient_error": math.sqrt(self.squares / repeats) / size,
            "gradient_bias": bias / size,
            "gradient_floor": noise / math.sqrt(repeats) / size,
            "gradient_noise": noise / size,
            "gradient_cosine": float(np.mean(self.cosines)),
        }


def batch_noise(reference: Learnt) -> float | None:
    """Relative deviation of dense gradients from their mean over updates; None for one update."""
    updates = len(reference.gradient_UP)
    if updates == 1:
        return None
    off_UP = reference.gradient_UP - reference.gradient_UP.mean(0)
    share = off_UP.norm() / reference.gradient_UP.norm()
    return float(share) * math.sqrt(updates / (updates - 1))
