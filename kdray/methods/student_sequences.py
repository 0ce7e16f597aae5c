"""Target sequences that a student writes while it trains, as a view beside the stored ones."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from kdray.methods.base import Batch
from kdray.methods.sequences import build_target
from kdray.model.sample import sample
from kdray.model.transformer import Transformer
from kdray.schema import View
from kdray.text.sequences import Sequences

LENGTH_RATIO, LENGTH_SLACK = 1.5, 5  # tokens for each of the reference, and added to that


def with_student_view(
    batch: Batch, writer: Transformer, *, chosen_B: Tensor, temperature: float
) -> Batch:
    """Add what `writer` samples for the chosen sentences; the others keep their references.

    A sequence has at most int(1.5·reference tokens) + 5 tokens, and fits the positions of the
    writer and of the batch's teacher.
    """
    reference, sentences = batch.targets[View.REFERENCE], batch.src_BS.size(0)
    counts = torch.bincount(reference.sentence_N, minlength=sentences).tolist()
    ids = [labels.tolist() for labels in torch.split(reference.labels_N, counts)]
    rows = chosen_B.nonzero().squeeze(1).tolist()
    if rows:
        longest = writer.config.max_length
        if batch.teacher is not None:
            longest = min(longest, batch.teacher.positions)
        made = sample(
            writer,
            batch.src_BS[rows],
            batch.src_mask_BS[rows],
            max_lengths=[
                min(int(LENGTH_RATIO * counts[row]) + LENGTH_SLACK, longest) for row in rows
            ],
            temperature=temperature,
        )
        for row, sequence in zip(rows, made, strict=True):
            ids[row] = sequence
    target = build_target(
        Sequences.from_lists(ids), np.arange(sentences), device=batch.src_BS.device
    )
    return replace(batch, targets={**batch.targets, View.STUDENT: target})
