"""Is the text short enough for the models? It is asked before the first of them is trained."""

from collections.abc import Mapping

import numpy as np

from kdray.errors import DataError
from kdray.fit.spec import TrainingSpec
from kdray.schema import Split, View
from kdray.text.encoded import EncodedSplit


def check_dev(dev: EncodedSplit, *, model: str, max_length: int) -> None:
    """Raise DataError if a dev pair has more tokens on a side than a model can read."""
    lengths = np.maximum(dev.src.lengths, dev.ref.lengths)
    rows = np.flatnonzero(lengths > max_length)
    if len(rows):
        raise DataError(
            f"{Split.DEV}: {len(rows)} of {len(dev)} pairs, first pair {rows[0] + 1}, have more "
            f"tokens on a side than {model} reads: {lengths.max()} at most, its max_length is "
            f"{max_length}; raise its max_length, or shorten or split these pairs"
        )


def check_sources(
    longest: Mapping[str, Mapping[str, int]], *, model: str, spec: TrainingSpec
) -> None:
    """Raise DataError if a test sentence has more tokens than a model can read.

    longest: for each split the `tokens` of its longest source and the `line` that it stands in.
    """
    most = spec.model.max_length
    for split, source in longest.items():
        if source["tokens"] > most:
            raise DataError(
                f"{split}, line {source['line']}: {source['tokens']} tokens, more than {model} "
                f"reads, its max_length is {most}; raise its max_length now, before it is trained, "
                "or split the sentence"
            )


def check_train(train: EncodedSplit, *, model: str, spec: TrainingSpec) -> None:
    """Raise DataError if a model can learn from no pair, since all are too long for it."""
    most = min(spec.training.max_tokens, spec.model.max_length)
    lengths = train.src.lengths
    if View.REFERENCE in spec.method.needs().views:
        lengths = np.maximum(lengths, train.ref.lengths)
    if lengths.min() > most:
        raise DataError(
            f"{Split.TRAIN}: all {len(train)} pairs have more tokens on a side than {model} may "
            f"learn from: {lengths.min()} at least, training.max_tokens and its max_length allow "
            f"{most}; raise them, or shorten the pairs"
        )
