"""From ragged target ids to what a decoder reads and what it is to predict."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kdray.methods.base import Target
from kdray.model.device import moved
from kdray.text.batching import Rows
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import BOS, PAD


def build_target(ids: Sequences, rows: Rows, *, device: torch.device) -> Target:
    """Decoder inputs and labels for some target sequences, all of them with their last token."""
    lengths = ids.lengths[rows]
    padded = ids.padded(rows, pad=PAD)
    longest = padded.shape[1]
    inputs = np.concatenate((np.full((len(rows), 1), BOS), padded[:, :-1]), axis=1)
    real = np.arange(longest)[None, :] < lengths[:, None]
    sentence = np.repeat(np.arange(len(rows)), lengths)

    def tensor(array: NDArray[Any]) -> torch.Tensor:
        return moved(torch.from_numpy(np.ascontiguousarray(array)), device)

    return Target(
        inputs_BT=tensor(inputs),
        positions_N=tensor(np.flatnonzero(real)),
        labels_N=tensor(padded[real]),
        sentence_N=tensor(sentence),
    )
