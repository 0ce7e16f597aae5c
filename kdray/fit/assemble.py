"""From stored artifacts to a student's training data. Everything is joined by pair_id."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdray.errors import DataError
from kdray.fit.data import Distributions, TrainingData
from kdray.methods.base import Method
from kdray.methods.online import OnlineTeacher
from kdray.schema import Form, Split, View
from kdray.teacher.hypotheses import Hypotheses
from kdray.teacher.signals import load_distributions
from kdray.text.batching import Rows
from kdray.text.encoded import EncodedSplit
from kdray.text.sequences import Sequences

UNFINISHED = "hypothesis reached the length limit"
TOO_LONG = "longer than training.max_tokens"
NO_HYPOTHESIS = "no hypothesis"


@dataclass(frozen=True, slots=True)
class Signals:
    """Where a student finds what the teacher left for it.

    Attributes:
        hypotheses: folder of translations, as the method wants them chosen.
        all_hypotheses: whether it learns every translation there, not only the best.
        distributions: form and folder of the stored distributions on each view.
        teachers: folders of the teachers that run beside the student.
    """

    hypotheses: Path | None = None
    all_hypotheses: bool = False
    distributions: Mapping[View, tuple[Form, Path]] = field(default_factory=dict)
    teachers: tuple[Path, ...] = ()


@dataclass(slots=True)
class _Chosen:
    """Rows of the corpus and of the translations that go together, and what was left out."""

    train: Rows
    hyps: Rows | None
    left_out: Counter[str]

    def keep(self, good: NDArray[np.bool_], reason: str) -> None:
        """Drop the rows that are not good, counting them."""
        if not good.all():
            self.left_out[reason] += int((~good).sum())
            self.train = self.train[good]
            self.hyps = None if self.hyps is None else self.hyps[good]


def assemble(
    method: Method,
    *,
    encoded: Path,
    signals: Signals,
    max_tokens: int,
    teacher: OnlineTeacher | None = None,
) -> TrainingData:
    """Load what a method reads; pairs that it cannot use are counted, never cut.

    Raises:
        DataError: stored signals lack pairs, or do not fit the sequences they belong to.
    """
    train = EncodedSplit.load(encoded, Split.TRAIN)
    views: dict[View, Sequences] = {View.REFERENCE: train.ref}
    chosen = _Chosen(np.arange(len(train)), None, Counter())
    if View.HYPOTHESIS in method.views:
        hyps = _load_hypotheses(signals)
        chosen = _with_hypotheses(train, hyps, signals)
        chosen.keep(hyps.finished[chosen.hyps], UNFINISHED)
        views[View.HYPOTHESIS] = hyps.ids
    for view in (None, *method.views):
        ids = train.src if view is None else views[view]
        at = chosen.train if view is None else _places(chosen, view)
        chosen.keep(ids.lengths[at] <= max_tokens, TOO_LONG)
    pair_ids = train.pair_ids[chosen.train]
    taken = {view: views[view].take(_places(chosen, view)) for view in method.views}
    return TrainingData(
        pair_ids=pair_ids,
        src=train.src.take(chosen.train),
        views=taken,
        distributions={
            view: _stored(signals, view, pair_ids, taken[view])
            for view in method.reads
            if view in signals.distributions
        },
        left_out=dict(chosen.left_out),
        teacher=teacher,
    )


def join(wanted: NDArray[np.int64], stored: NDArray[np.int64], *, what: str) -> Rows:
    """Where each wanted pair stands in `stored`.

    Raises:
        DataError: a pair is missing, or stands there twice.
    """
    order = np.argsort(stored, kind="stable")
    ordered = stored[order]
    if len(ordered) and (ordered[1:] == ordered[:-1]).any():
        raise DataError(f"{what}: the same pair_id stands there twice; remove it and run again")
    places = np.searchsorted(ordered, wanted)
    places[places == len(ordered)] = 0
    found = ordered[places] == wanted if len(ordered) else np.zeros(len(wanted), dtype=bool)
    if not found.all():
        missing = wanted[~found]
        raise DataError(
            f"{what}: {len(missing)} of {len(wanted)} pairs are missing, first {missing.min()}; "
            "remove it and run again"
        )
    return np.asarray(order[places], dtype=np.int64)


def _places(chosen: _Chosen, view: View) -> Rows:
    if view is not View.HYPOTHESIS:
        return chosen.train
    assert chosen.hyps is not None, "translations were loaded because the method reads them"
    return chosen.hyps


def _load_hypotheses(signals: Signals) -> Hypotheses:
    assert signals.hypotheses is not None, "the config was checked for this"
    hyps = Hypotheses.load(signals.hypotheses, best_only=not signals.all_hypotheses)
    if not len(hyps.pair_ids):
        raise DataError(f"{signals.hypotheses}: holds no hypothesis; remove it and run again")
    return hyps


def _with_hypotheses(train: EncodedSplit, hyps: Hypotheses, signals: Signals) -> _Chosen:
    """Each translation beside its pair, in the order of the corpus, best first within a pair."""
    if not signals.all_hypotheses:
        join(hyps.pair_ids, hyps.pair_ids, what=str(signals.hypotheses))  # none stands there twice
    present = np.isin(train.pair_ids, hyps.pair_ids)
    left_out = Counter({NO_HYPOTHESIS: int((~present).sum())}) if not present.all() else Counter()
    known = np.flatnonzero(np.isin(hyps.pair_ids, train.pair_ids))
    pairs = join(hyps.pair_ids[known], train.pair_ids, what="the encoded corpus")
    order = np.argsort(pairs, kind="stable")
    return _Chosen(pairs[order], known[order], left_out)


def _stored(
    signals: Signals, view: View, pair_ids: NDArray[np.int64], ids: Sequences
) -> Distributions:
    form, folder = signals.distributions[view]
    stored = load_distributions(form, folder)
    order = join(pair_ids, stored.pair_ids, what=str(folder))
    found = np.diff(stored.offsets)[order]
    wrong = np.flatnonzero(found != ids.lengths)
    if len(wrong):
        raise DataError(
            f"{folder}: {len(wrong)} pairs have another number of positions than their target, "
            f"first {found[wrong[0]]} for {ids.lengths[wrong[0]]}; remove it and run again"
        )
    return stored.rows(order)
