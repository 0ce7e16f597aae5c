"""From stored artifacts to a student's training data. Everything is joined by pair_id."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdray.artifacts import RECORD, Fetch, Source, read_json
from kdray.config.monolingual import PARALLEL
from kdray.config.needs import Needs
from kdray.errors import DataError
from kdray.fit.data import TrainingData
from kdray.methods.online import OnlineTeacher
from kdray.schema import Form, Split, View
from kdray.teacher.hypotheses import Hypotheses
from kdray.teacher.loading import load_distributions
from kdray.teacher.stored import Stored, StoredRows, load_pair_hashes
from kdray.text.batching import Rows
from kdray.text.encoded import EncodedSplit
from kdray.text.pairing import check_pairs, join, pair_hashes, source_hashes
from kdray.text.pieces import SOME, check_pieces, check_rows
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import Tokenizer

UNFINISHED = "hypothesis reached the length limit"
TOO_LONG = "longer than training.max_tokens or the model's max_length"
TOO_LONG_FOR_TEACHER = "longer than the teacher's positions"
NO_HYPOTHESIS = "no hypothesis"
NO_REFERENCE = "no reference"
NO_WEIGHT = "a source_weight of 0"


@dataclass(frozen=True, slots=True)
class Signals:
    """What a student reads of its teacher.

    Attributes:
        hypotheses: translations, as the method wants them chosen.
        all_hypotheses: whether it learns every translation there, not only the best.
        distributions: form and place of the stored distributions on each view.
    """

    hypotheses: Source | None = None
    all_hypotheses: bool = False
    distributions: Mapping[View, tuple[Form, Source]] = field(default_factory=dict)

    def stored(self) -> dict[str, Source]:
        """All that is stored, by the names that stand in a model's record."""
        stored = {f"{form} on {view}": place for view, (form, place) in self.distributions.items()}
        return stored if self.hypotheses is None else {**stored, "hypotheses": self.hypotheses}


@dataclass(slots=True)
class _Rows:
    """Pairs, or translations of pairs, before their ids are copied together.

    Attributes:
        pair_ids: of each row.
        texts: sources (None) and the targets of each view, in an order of their own.
        places: where each row stands in each of them.
        left_out: pairs that are no row, counted by reason.
    """

    pair_ids: Rows
    texts: Mapping[View | None, Sequences]
    places: Mapping[View | None, Rows]
    left_out: Counter[str]

    def keep(self, good: NDArray[np.bool_], reason: str) -> None:
        """Drop the rows that are not good, counting them."""
        if not good.all():
            self.left_out[reason] += int((~good).sum())
            self.pair_ids = self.pair_ids[good]
            self.places = {view: places[good] for view, places in self.places.items()}

    def repeat(self, times: NDArray[np.int64], reason: str) -> None:
        """Have each row so many times; those without a time are counted as left out."""
        self.keep(times > 0, reason)
        rows = np.repeat(np.arange(len(self.pair_ids)), times[times > 0])
        self.pair_ids = self.pair_ids[rows]
        self.places = {view: places[rows] for view, places in self.places.items()}

    def ids(self, view: View | None) -> Sequences:
        """Those of a view, row by row."""
        return self.texts[view].take(self.places[view])

    def lengths(self, view: View | None) -> NDArray[np.int64]:
        """Tokens of the target, or without a view of the source, of each row."""
        return self.texts[view].lengths[self.places[view]]

    def longer_sides(self, view: View) -> NDArray[np.int64]:
        """Tokens of the source or the target, whichever has more, of each row."""
        return np.maximum(self.lengths(None), self.lengths(view))


def assemble(
    needs: Needs,
    *,
    encoded: Path,
    signals: Signals,
    fetch: Fetch,
    max_tokens: int,
    teacher: OnlineTeacher | None = None,
    weights: Mapping[str, int] | None = None,
    tokenizer: Tokenizer | None = None,
) -> TrainingData:
    """Load what a method reads; pairs that it cannot use are counted, never cut.

    `weights`: how many rows each pair of a source has, by its name; 1 where it is not there.
    `tokenizer`: the model's, whose ids they have to be.

    Raises:
        DataError: stored signals lack pairs, or do not fit the sequences they belong to, or ids are
            not of the tokenizer's pieces.
    """
    train = EncodedSplit.load(encoded, Split.TRAIN)
    if tokenizer is not None:
        check_pieces(train.pieces, tokenizer.checksum, what=encoded, of="the tokenizer")
    whole = {View.REFERENCE: _corpus(train)}
    if View.REFERENCE in (*needs.views, *needs.distributions):
        has_one = whole[View.REFERENCE].lengths(View.REFERENCE) > 0
        whole[View.REFERENCE].keep(has_one, NO_REFERENCE)
    chosen = replace(whole[View.REFERENCE])
    if View.HYPOTHESIS in needs.views:
        whole[View.HYPOTHESIS], finished = _translations(train, signals, fetch, tokenizer)
        chosen = replace(whole[View.HYPOTHESIS])
        chosen.keep(finished, UNFINISHED)
        if View.REFERENCE in (*needs.views, *needs.distributions):
            chosen.keep(chosen.lengths(View.REFERENCE) > 0, NO_REFERENCE)
    for side in (None, *needs.views):
        chosen.keep(chosen.lengths(side) <= max_tokens, TOO_LONG)
    stored: dict[View, Stored] = {}
    for view in needs.distributions:
        if view in signals.distributions:
            form, source = signals.distributions[view]
            stored[view] = load_distributions(form, fetch(source))
            unread = _unread(whole[view], view, stored[view])
            chosen.keep(~np.isin(chosen.pair_ids, unread), TOO_LONG_FOR_TEACHER)
        elif teacher is not None:
            shown = View.REFERENCE if view is View.STUDENT else view  # it keeps some of those
            chosen.keep(chosen.longer_sides(shown) <= teacher.positions, TOO_LONG_FOR_TEACHER)
    if weights:
        chosen.repeat(_times(train, chosen.places[None], weights), NO_WEIGHT)
    views = {view: chosen.ids(view) for view in needs.views}
    hashes = train.src_hashes[chosen.places[None]]
    return TrainingData(
        pair_ids=chosen.pair_ids,
        src=chosen.ids(None),
        views=views,
        distributions={
            view: _in_order(distributions, chosen.pair_ids, hashes, views[view])
            for view, distributions in stored.items()
        },
        left_out=dict(chosen.left_out),
        teacher=teacher,
    )


def _times(
    train: EncodedSplit, rows: NDArray[np.int64], weights: Mapping[str, int]
) -> NDArray[np.int64]:
    """How often each pair is to be there."""
    if train.sources is None:  # it has one source, which may be named
        return np.full(len(rows), weights.get(PARALLEL, 1), dtype=np.int64)
    times = np.ones(len(rows), dtype=np.int64)
    for name, source in zip(weights, source_hashes(weights), strict=True):
        times[train.sources[rows] == source] = weights[name]
    return times


def _corpus(train: EncodedSplit) -> _Rows:
    """Each pair of the corpus, in its order."""
    texts: dict[View | None, Sequences] = {None: train.src, View.REFERENCE: train.ref}
    places = dict.fromkeys(texts, np.arange(len(train)))
    return _Rows(train.pair_ids, texts, places, Counter())


def _translations(
    corpus: EncodedSplit, signals: Signals, fetch: Fetch, tokenizer: Tokenizer | None
) -> tuple[_Rows, NDArray[np.bool_]]:
    """Each translation beside its pair, and whether it is finished.

    They stand in the order of the corpus, those of a pair together, best first.
    """
    assert signals.hypotheses is not None, "the config was checked for this"
    folder = fetch(signals.hypotheses)
    hyps = Hypotheses.load(folder, best_only=not signals.all_hypotheses)
    if not len(hyps.pair_ids):
        raise DataError(f"{folder}: holds no hypothesis; remove it and run again")
    if tokenizer is not None:
        check_pieces(hyps.pieces, tokenizer.checksum, what=folder, of="the tokenizer")
        if hyps.pieces is None:
            some = range(min(SOME, len(hyps.pair_ids)))
            ids, texts = [hyps.ids[row].tolist() for row in some], hyps.texts(np.array(some))
            check_rows(ids, texts, tokenizer, what=folder)
    if not signals.all_hypotheses:
        join(hyps.pair_ids, hyps.pair_ids, what=str(folder))  # none stands there twice
    absent = int((~np.isin(corpus.pair_ids, hyps.pair_ids)).sum())
    known = np.flatnonzero(np.isin(hyps.pair_ids, corpus.pair_ids))
    pairs = join(hyps.pair_ids[known], corpus.pair_ids, what="the encoded corpus")
    order = np.argsort(pairs, kind="stable")
    rows, places = pairs[order], known[order]
    pair_ids, hashes = corpus.pair_ids[rows], corpus.src_hashes[rows]
    check_pairs(hyps.src_hashes[places], hashes, pair_ids, what=str(folder))
    translations = _Rows(
        pair_ids,
        {None: corpus.src, View.REFERENCE: corpus.ref, View.HYPOTHESIS: hyps.ids},
        {None: rows, View.REFERENCE: rows, View.HYPOTHESIS: places},
        Counter({NO_HYPOTHESIS: absent} if absent else {}),
    )
    return translations, hyps.finished[places]


def _unread(rows: _Rows, view: View, stored: Stored) -> NDArray[np.int64]:
    """Pairs that have no row because the teacher's positions are too few for them.

    They are as many as the record beside the rows counts, and longer than all that have a row.
    Otherwise there are none: what is missing then is missing for another reason, and an error.
    """
    absent, lengths = ~np.isin(rows.pair_ids, stored.pair_ids), rows.longer_sides(view)
    longest_read = lengths[~absent].max(initial=0)
    if absent.sum() != _quarantined(stored.folder) or (lengths[absent] <= longest_read).any():
        return rows.pair_ids[:0]
    return rows.pair_ids[absent]


def _quarantined(folder: Path) -> int:
    """Pairs that were too long for the teacher, as the record of a published signal says."""
    path = folder / RECORD
    return int(read_json(path)["counts"].get("quarantined", 0)) if path.exists() else 0


def _in_order(
    stored: Stored, pair_ids: Rows, src_hashes: NDArray[np.int64], ids: Sequences
) -> StoredRows:
    """The distributions in the order of these pairs, whose targets are these.

    Raises:
        DataError: they lack a pair, or are of other pairs or targets.
    """
    folder = stored.folder
    order = join(pair_ids, stored.pair_ids, what=str(folder))
    positions = np.diff(stored.offsets)[order]
    wrong = np.flatnonzero(positions != ids.lengths)
    if len(wrong):
        raise DataError(
            f"{folder}: {len(wrong)} pairs have another number of positions than their target, "
            f"first {positions[wrong[0]]} for {ids.lengths[wrong[0]]}; remove it and run again"
        )
    wanted = pair_hashes(src_hashes, ids)
    check_pairs(load_pair_hashes(stored)[order], wanted, pair_ids, what=str(folder))
    return stored.rows(order)
