"""What a teacher says of references: how unsure it is at their tokens, and its loss there."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdray.methods.online import OnlineTeacher
from kdray.teacher.ensemble import TOKENS_PER_BATCH, log_weights, read_pairs
from kdray.text.batching import Rows, cuts
from kdray.text.sequences import Sequences

Sums = NDArray[np.float64]


@torch.inference_mode()
def read_references(
    teacher: OnlineTeacher, src: Sequences, refs: Sequences, rows: Rows, *, by_perplexity: bool
) -> tuple[Sums, Sums]:
    """Entropy of the teacher's distributions at all tokens of each reference, and its loss there.

    by_perplexity: whether its members weigh anew for each pair. Pairs must fit. -> [rows], [rows].
    """
    entropy, loss = np.zeros(len(rows)), np.zeros(len(rows))
    order = np.lexsort((src.lengths[rows], refs.lengths[rows]))
    for part in np.split(order, cuts(refs.lengths[rows[order]], most=TOKENS_PER_BATCH)):
        if not len(part):
            continue
        read, target = read_pairs(teacher, src, refs, rows[part])
        if by_perplexity:
            weights = log_weights(read, target, sentences=len(part))
            read = replace(read, log_weights_NM=weights[target.sentence_N])
        sentences = target.sentence_N.cpu().numpy()

        def sums(values_N: Tensor, sentences: Rows = sentences, most: int = len(part)) -> Sums:
            values = values_N.double().cpu().numpy()
            return np.asarray(np.bincount(sentences, values, minlength=most), dtype=np.float64)

        entropy[part] = sums(read.entropy())
        loss[part] = sums(-read.log_labels(target.labels_N))
    return entropy, loss
