"""What the members of a teacher say of pairs, and how well each of them knows a pair.

B pairs, M members.
"""

import numpy as np
import torch
from torch import Tensor

from kdray.methods.base import Target, sentence_means
from kdray.methods.online import OnlineTeacher
from kdray.methods.sequences import build_target
from kdray.methods.targets import DenseTargets
from kdray.model.memory import padded_cuts, tokens_per_batch
from kdray.text.batching import Rows
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import PAD

TOKENS_PER_BATCH = 4096
TIMES = 4
"""A batch that is read may have so many times the padded tokens of one that is translated."""


def log_weights(read: DenseTargets, target: Target, *, sentences: int) -> Tensor:
    """Members weighed by the inverse of their perplexity on the references. -> [B, M].

    read: what all members say at the positions of `target`, the references with their `</s>`.
    Perplexity is exp of the mean loss a token; the weights of a pair sum to one.
    """
    losses = [
        sentence_means(
            -DenseTargets((member,)).log_labels(target.labels_N), target, sentences=sentences
        )
        for member in read.members
    ]
    return (-torch.stack(losses, dim=1)).log_softmax(1)


@torch.inference_mode()
def weigh(teacher: OnlineTeacher, src: Sequences, refs: Sequences, rows: Rows) -> Tensor:
    """Log weights of the members for some pairs; see `log_weights`. -> [B, M].

    Even where the reference is longer than the members can read. Sources must fit.
    """
    members = teacher.output_weights
    device = members[0].device
    weights_BM = torch.zeros(len(rows), len(members), device=device).log_softmax(1)
    order = np.argsort(refs.lengths[rows], kind="stable")
    order = order[refs.lengths[rows[order]] <= teacher.positions]
    if not len(order):
        return weights_BM
    for part in np.split(
        order, padded_cuts(refs.lengths[rows[order]], most=TIMES * tokens_per_batch())
    ):
        read, target = read_pairs(teacher, src, refs, rows[part])
        weights = log_weights(read, target, sentences=len(part))
        weights_BM[torch.from_numpy(part).to(device)] = weights
    return weights_BM


def read_pairs(
    teacher: OnlineTeacher, src: Sequences, targets: Sequences, rows: Rows
) -> tuple[DenseTargets, Target]:
    """What the members say at all positions of some pairs, unweighed, and what stands there."""
    device = teacher.output_weights[0].device
    src_BS = torch.from_numpy(src.padded(rows, pad=PAD)).to(device)
    target = build_target(targets, rows, device=device)
    read = teacher.read(src_BS, src_BS != PAD, target.inputs_BT, target.positions_N)
    return read, target
