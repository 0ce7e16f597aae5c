"""From stored artifacts to a student's training data. Everything is joined by pair_id."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from kdray.artifacts import RECORD
from kdray.config.signals import Needs
from kdray.errors import DataError
from kdray.fit.data import TrainingData
from kdray.methods.online import OnlineTeacher
from kdray.schema import Form, Split, View
from kdray.teacher.forms import load_distributions
from kdray.teacher.hypotheses import Hypotheses
from kdray.teacher.stored import Stored, StoredRows
from kdray.text.batching import Rows
from kdray.text.encoded import EncodedSplit
from kdray.text.sequences import Sequences

UNFINISHED = "hypothesis reached the length limit"
TOO_LONG = "longer than training.max_tokens or the model's max_length"
TOO_LONG_FOR_TEACHER = "longer than the teacher's positions"
NO_HYPOTHESIS = "no hypothesis"

Place = TypeVar("Place")
Other = TypeVar("Other")


@dataclass(frozen=True, slots=True)
class Signals(Generic[Place]):
    """What a student reads of its teacher: named by sources in a plan, by folders in a worker.

    Attributes:
        hypotheses: translations, as the method wants them chosen.
        all_hypotheses: whether it learns every translation there, not only the best.
        distributions: form and place of the stored distributions on each view.
    """

    hypotheses: Place | None = None
    all_hypotheses: bool = False
    distributions: Mapping[View, tuple[Form, Place]] = field(default_factory=dict)

    def stored(self) -> dict[str, Place]:
        """All that is stored, by the names that stand in a model's record."""
        stored = {f"{form} on {view}": place for view, (form, place) in self.distributions.items()}
        return stored if self.hypotheses is None else {**stored, "hypotheses": self.hypotheses}

    def at(self, fetch: Callable[[Place], Other]) -> "Signals[Other]":
        """The same at other places."""
        return Signals(
            hypotheses=None if self.hypotheses is None else fetch(self.hypotheses),
            all_hypotheses=self.all_hypotheses,
            distributions={v: (form, fetch(p)) for v, (form, p) in self.distributions.items()},
        )


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

    def places(self, view: View) -> Rows:
        """Where the targets of a view stand among all of that view."""
        if view is not View.HYPOTHESIS:
            return self.train
        assert self.hyps is not None, "translations were loaded because the method reads them"
        return self.hyps


@dataclass(frozen=True, slots=True)
class _Texts:
    """All pairs of the corpus, the targets of each view, and the rows that each view has."""

    train: EncodedSplit
    views: Mapping[View, Sequences]
    whole: Mapping[View, _Chosen]

    def pair_ids(self, chosen: _Chosen) -> NDArray[np.int64]:
        """Of each chosen row."""
        return self.train.pair_ids[chosen.train]

    def lengths(self, chosen: _Chosen, view: View | None) -> NDArray[np.int64]:
        """Tokens of the target, or without a view of the source, of each chosen row."""
        if view is None:
            return self.train.src.lengths[chosen.train]
        return self.views[view].lengths[chosen.places(view)]

    def longer_sides(self, chosen: _Chosen, view: View) -> NDArray[np.int64]:
        """Tokens of the source or the target, whichever has more, of each chosen row."""
        return np.maximum(self.lengths(chosen, None), self.lengths(chosen, view))


def assemble(
    needs: Needs,
    *,
    encoded: Path,
    signals: Signals[Path],
    max_tokens: int,
    teacher: OnlineTeacher | None = None,
) -> TrainingData:
    """Load what a method reads; pairs that it cannot use are counted, never cut.

    Raises:
        DataError: stored signals lack pairs, or do not fit the sequences they belong to.
    """
    texts, chosen = _texts(needs, EncodedSplit.load(encoded, Split.TRAIN), signals)
    for view in (None, *needs.views):
        chosen.keep(texts.lengths(chosen, view) <= max_tokens, TOO_LONG)
    stored = {
        view: load_distributions(*signals.distributions[view])
        for view in needs.distributions
        if view in signals.distributions
    }
    for view, found in stored.items():
        unread = _unread(texts, view, found, folder=signals.distributions[view][1])
        chosen.keep(~np.isin(texts.pair_ids(chosen), unread), TOO_LONG_FOR_TEACHER)
    if teacher is not None:
        for view in set(needs.distributions) - set(stored):
            shown = View.REFERENCE if view is View.STUDENT else view  # it keeps some of those
            chosen.keep(
                texts.longer_sides(chosen, shown) <= teacher.positions, TOO_LONG_FOR_TEACHER
            )
    pair_ids = texts.pair_ids(chosen)
    taken = {view: texts.views[view].take(chosen.places(view)) for view in needs.views}
    return TrainingData(
        pair_ids=pair_ids,
        src=texts.train.src.take(chosen.train),
        views=taken,
        distributions={
            view: _rows(found, pair_ids, taken[view], folder=signals.distributions[view][1])
            for view, found in stored.items()
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


def _texts(needs: Needs, train: EncodedSplit, signals: Signals[Path]) -> tuple[_Texts, _Chosen]:
    """What a method learns from, and the rows of it that it can learn: no unfinished ones."""
    views = {View.REFERENCE: train.ref}
    whole = {View.REFERENCE: _Chosen(np.arange(len(train)), None, Counter())}
    if View.HYPOTHESIS not in needs.views:
        return _Texts(train, views, whole), replace(whole[View.REFERENCE])
    hyps = _load_hypotheses(signals)
    views[View.HYPOTHESIS] = hyps.ids
    whole[View.HYPOTHESIS] = _with_hypotheses(train, hyps, signals)
    chosen = replace(whole[View.HYPOTHESIS])
    chosen.keep(hyps.finished[chosen.hyps], UNFINISHED)
    return _Texts(train, views, whole), chosen


def _load_hypotheses(signals: Signals[Path]) -> Hypotheses:
    assert signals.hypotheses is not None, "the config was checked for this"
    hyps = Hypotheses.load(signals.hypotheses, best_only=not signals.all_hypotheses)
    if not len(hyps.pair_ids):
        raise DataError(f"{signals.hypotheses}: holds no hypothesis; remove it and run again")
    return hyps


def _with_hypotheses(train: EncodedSplit, hyps: Hypotheses, signals: Signals[Path]) -> _Chosen:
    """Each translation beside its pair, in the order of the corpus, best first within a pair."""
    if not signals.all_hypotheses:
        join(hyps.pair_ids, hyps.pair_ids, what=str(signals.hypotheses))  # none stands there twice
    present = np.isin(train.pair_ids, hyps.pair_ids)
    left_out = Counter({NO_HYPOTHESIS: int((~present).sum())}) if not present.all() else Counter()
    known = np.flatnonzero(np.isin(hyps.pair_ids, train.pair_ids))
    pairs = join(hyps.pair_ids[known], train.pair_ids, what="the encoded corpus")
    order = np.argsort(pairs, kind="stable")
    return _Chosen(pairs[order], known[order], left_out)


def _unread(texts: _Texts, view: View, stored: Stored, *, folder: Path) -> NDArray[np.int64]:
    """Pairs that have no row because the teacher's positions are too few for them.

    They are as many as the record beside the rows counts, and longer than all that have a row.
    Otherwise there are none: what is missing then is missing for another reason, and an error.
    """
    whole = texts.whole[view]
    pair_ids, lengths = texts.pair_ids(whole), texts.longer_sides(whole, view)
    absent = ~np.isin(pair_ids, stored.pair_ids)
    longest_read = lengths[~absent].max(initial=0)
    if absent.sum() != _quarantined(folder) or (lengths[absent] <= longest_read).any():
        return pair_ids[:0]
    return pair_ids[absent]


def _quarantined(folder: Path) -> int:
    """Pairs that were too long for the teacher, as the record of a published signal says."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0
    return int(record["counts"].get("quarantined", 0))


def _rows(
    stored: Stored, pair_ids: NDArray[np.int64], ids: Sequences, *, folder: Path
) -> StoredRows:
    order = join(pair_ids, stored.pair_ids, what=str(folder))
    found = np.diff(stored.offsets)[order]
    wrong = np.flatnonzero(found != ids.lengths)
    if len(wrong):
        raise DataError(
            f"{folder}: {len(wrong)} pairs have another number of positions than their target, "
            f"first {found[wrong[0]]} for {ids.lengths[wrong[0]]}; remove it and run again"
        )
    return stored.rows(order)
