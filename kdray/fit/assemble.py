"""From stored artifacts to a student's training data. Everything is joined by pair_id."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdray.errors import DataError
from kdray.fit.data import Distributions, TrainingData
from kdray.methods.base import Method
from kdray.schema import Split, View
from kdray.teacher.hypotheses import Hypotheses
from kdray.teacher.topk import TopK
from kdray.text.batching import Rows
from kdray.text.encoded import EncodedSplit
from kdray.text.sequences import Sequences

UNFINISHED = "hypothesis reached the length limit"
TOO_LONG = "longer than training.max_tokens"
NO_HYPOTHESIS = "no hypothesis"


def assemble(
    method: Method,
    *,
    encoded: Path,
    hypotheses: Path | None,
    distributions: Mapping[View, Path],
    temperatures: tuple[float, ...],
    max_tokens: int,
) -> TrainingData:
    """Load what a method reads; pairs that it cannot use are counted, never cut.

    Raises:
        DataError: stored signals lack pairs, or do not fit the sequences they belong to.
    """
    train = EncodedSplit.load(encoded, Split.TRAIN)
    views: dict[View, Sequences] = {View.REFERENCE: train.ref}
    left_out: Counter[str] = Counter()
    usable = np.ones(len(train), dtype=bool)
    if View.HYPOTHESIS in method.views:
        assert hypotheses is not None, "the config was checked for this"
        hyps = Hypotheses.load(hypotheses)
        if not len(hyps.pair_ids):
            raise DataError(f"{hypotheses}: holds no hypothesis; remove it and run again")
        order = join(train.pair_ids, hyps.pair_ids, what=str(hypotheses), partial=True)
        usable &= _count(left_out, NO_HYPOTHESIS, usable & (order < 0))
        usable &= _count(left_out, UNFINISHED, usable & ~hyps.finished[order])
        views[View.HYPOTHESIS] = hyps.ids.take(np.maximum(order, 0))
    for ids in (train.src, *(views[view] for view in method.views)):
        usable &= _count(left_out, TOO_LONG, usable & (ids.lengths > max_tokens))
    rows = np.flatnonzero(usable)
    pair_ids = train.pair_ids[rows]
    chosen = {view: views[view].take(rows) for view in method.views}
    soft: dict[View, Distributions] = {}
    if method.soft_view is not None:
        folder = distributions[method.soft_view]
        stored = TopK.load(folder, temperatures=temperatures)
        order = join(pair_ids, stored.pair_ids, what=str(folder))
        _check_positions(np.diff(stored.offsets)[order], chosen[method.soft_view], folder)
        soft[method.soft_view] = stored.rows(order)
    return TrainingData(
        pair_ids=pair_ids,
        src=train.src.take(rows),
        views=chosen,
        distributions=soft,
        left_out=dict(left_out),
    )


def join(
    wanted: NDArray[np.int64], stored: NDArray[np.int64], *, what: str, partial: bool = False
) -> Rows:
    """Where each wanted pair stands in `stored`; −1 for a missing one if that is allowed.

    Raises:
        DataError: a pair is missing that must not be, or stands there twice.
    """
    order = np.argsort(stored, kind="stable")
    ordered = stored[order]
    if len(ordered) and (ordered[1:] == ordered[:-1]).any():
        raise DataError(f"{what}: the same pair_id stands there twice; remove it and run again")
    places = np.searchsorted(ordered, wanted)
    places[places == len(ordered)] = 0
    found = ordered[places] == wanted if len(ordered) else np.zeros(len(wanted), dtype=bool)
    if not partial and not found.all():
        missing = wanted[~found]
        raise DataError(
            f"{what}: {len(missing)} of {len(wanted)} pairs are missing, first {missing.min()}; "
            "remove it and run again"
        )
    return np.where(found, order[places] if len(ordered) else -1, -1)


def _count(left_out: Counter[str], reason: str, dropped: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if dropped.any():
        left_out[reason] += int(dropped.sum())
    return ~dropped


def _check_positions(stored: NDArray[np.int64], ids: Sequences, folder: Path) -> None:
    wrong = np.flatnonzero(stored != ids.lengths)
    if len(wrong):
        raise DataError(
            f"{folder}: {len(wrong)} pairs have another number of positions than their target, "
            f"first {stored[wrong[0]]} for {ids.lengths[wrong[0]]}; remove it and run again"
        )
