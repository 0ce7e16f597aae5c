"""How far a student's layers are from the teacher's: states, attention maps, and which to which.

B sentences, D a model's width. There is one tensor for each layer of a stack.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdray.methods.measures import FLOOR


def layer_map(student: int, teacher: int) -> tuple[int, ...]:
    """The teacher's layer for each of the student's, both counted from 0; the last to the last."""
    return tuple(max(round((i + 1) * teacher / student) - 1, 0) for i in range(student))


def state_losses(
    ours: Sequence[Tensor],
    theirs: Sequence[Tensor],
    layers: Sequence[int],
    projections: nn.ModuleList,
    *,
    normalised: bool,
) -> Tensor:
    """Mean over layers and features of (W s − t)². -> [B, positions].

    normalised: whether t is brought to mean 0 and variance 1.
    """
    each = []
    for state, project, layer in zip(ours, projections, layers, strict=True):
        target = theirs[layer]
        if normalised:
            target = functional.layer_norm(target, target.shape[-1:])
        each.append((project(state) - target).square().mean(2))
    return torch.stack(each).mean(0)


def attention_losses(
    ours: Sequence[Tensor], theirs: Sequence[Tensor], layers: Sequence[int]
) -> Tensor:
    """Mean over layers of KL(teacher's map ‖ student's map). -> [B, queries].

    Keys that the teacher cannot see have no weight in it and add nothing.
    """
    least = math.exp(FLOOR)
    each = []
    for student_map, layer in zip(ours, layers, strict=True):
        p, log_q = theirs[layer], student_map.clamp_min(least).log()
        each.append((p * (p.clamp_min(least).log() - log_q)).sum(2))
    return torch.stack(each).mean(0)
