"""Which of a pair's hypotheses are learned: by its reference, by risk, or by a score.

The closest is Kim & Rush's sequence-level interpolation (2016, section 3.3). Least risk is minimum
Bayes risk: each candidate's mean similarity to all candidates of its pair, which stand for the
teacher's distribution and weigh alike (as for the several hypotheses of Wang et al. 2024).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from kdray.artifacts import Fetch, Key, keys_among
from kdray.config.methods.interpolation import InterpolationConfig
from kdray.config.methods.multi_hypothesis import MultiHypothesisConfig
from kdray.config.methods.scored import ScoredConfig
from kdray.config.methods.union import Selecting
from kdray.errors import DataError
from kdray.jobs import Counts
from kdray.schema import Column, Split
from kdray.teacher.hypotheses import FILE, Hypotheses, in_parts, join_shards
from kdray.teacher.scores import Scores, load_scores
from kdray.teacher.similarity import Similarity, similarity, utility
from kdray.text.batching import Rows
from kdray.text.corpus import Corpus
from kdray.text.sequences import write_table

VERSION = 1
DECIMALS = 9  # of a similarity; what differs by less is equal, and the better rank wins


@dataclass(frozen=True, slots=True)
class Candidates:
    """Hypotheses of one pair, best first; at least one. finished: whether each ended by itself."""

    texts: Sequence[str]
    finished: Sequence[bool]

    def eligible(self) -> Rows:
        """Places of the finished ones; if none is finished, of all."""
        finished = np.flatnonzero(self.finished)
        return finished if len(finished) else np.arange(len(self.texts))


def closest(candidates: Candidates, ref: str, measure: Similarity) -> int:
    """The place of the hypothesis that is most similar to the reference; of equals the best.

    Unfinished ones are looked at only where none is finished.
    """
    eligible = candidates.eligible()
    if len(eligible) == 1:
        return int(eligible[0])
    scores = measure.to(ref, [candidates.texts[place] for place in eligible])
    return int(eligible[scores.round(DECIMALS).argmax()])


def least_risk(candidates: Candidates, n: int, measure: Similarity) -> list[int]:
    """The places of the n hypotheses of highest mean similarity to all, best first.

    Of equals the one of better rank comes first. All hypotheses of a pair are what the others are
    compared with, a text as often as it stands there; unfinished ones are chosen only where none
    is finished, so a pair may get fewer than n.
    """
    eligible = candidates.eligible()
    if len(eligible) > 1:
        utilities = utility(candidates.texts, measure)[eligible].round(DECIMALS)
        eligible = eligible[np.argsort(-utilities, kind="stable")]
    return [int(place) for place in eligible[:n]]


@dataclass(frozen=True, slots=True)
class SelectionJob:
    """Choose among the n-best translations of each pair. Sharded; see `kdray.jobs`.

    `corpus` has the references that are compared with; `config` says how to choose, and among how
    many.
    """

    on_gpu: ClassVar[bool] = False

    hypotheses: Key
    corpus: Key
    config: Selecting
    encoded: Key  # in the students' pieces: a part of the identity
    scores: Key | None = None

    @property
    def key(self) -> Key:
        """Of the translations and how to choose, which label smoothing is no part of."""
        recipe = self.config.model_dump(mode="json", exclude={"label_smoothing", "by"})
        inputs = {"hypotheses": self.hypotheses, "encoded": self.encoded}
        inputs |= {"scores": self.scores} if self.scores else {}
        return Key("selection", VERSION, recipe, {k: v.fingerprint for k, v in inputs.items()})

    @property
    def reads(self) -> tuple[Key, ...]:
        """The translations, and the corpus if references are looked at."""
        uses_refs = isinstance(self.config, InterpolationConfig)
        return keys_among(self.hypotheses, self.scores, self.corpus if uses_refs else None)

    def prepare(self, work: Path, fetch: Fetch, *, device: str) -> int:
        """Nothing is shared. -> the number of pairs that have translations."""
        return len(Hypotheses.load(fetch(self.hypotheses)).pair_ids)

    def builder(self, work: Path, fetch: Fetch, *, device: str) -> "SelectionMaker":
        """What chooses among the translations of some pairs.

        Raises:
            DataError: a folder is damaged, or a pair has no reference in the corpus.
        """
        hyps = Hypotheses.load(fetch(self.hypotheses), best_only=False)
        refs: dict[int, str] = {}
        if isinstance(self.config, InterpolationConfig):
            table = Corpus(fetch(self.corpus)).table(Split.TRAIN)
            pair_ids, texts = table[Column.PAIR_ID].to_pylist(), table[Column.REF].to_pylist()
            refs = dict(zip(pair_ids, texts, strict=True))
            missing = [i for i in hyps.pair_ids.tolist() if i not in refs]
            if missing:
                raise DataError(
                    f"{fetch(self.hypotheses)}: {len(missing)} translations are of pairs that "
                    f"{fetch(self.corpus)} does not have, first {min(missing)}; remove the folder "
                    "and run again"
                )
            hyps.rows_in(table, what=str(fetch(self.hypotheses)))
        scores = None if self.scores is None else load_scores(fetch(self.scores), hyps)
        return SelectionMaker(self.config, hyps, hyps.first, refs, scores)

    def join(
        self, shards: Sequence[Path], counts: Sequence[Counts], folder: Path, fetch: Fetch
    ) -> Counts:
        """Put the finished shards together in the order of the translations. -> counts.

        Raises:
            StageFailed: the pairs are not exactly those of the translations.
        """
        wanted = Hypotheses.load(fetch(self.hypotheses)).pair_ids
        sizes = [each["pairs"] + each.get("below", 0) for each in counts]
        return join_shards(shards, counts, folder, wanted=in_parts([wanted], sizes))


@dataclass(frozen=True, slots=True)
class SelectionMaker:
    """Chooses among the translations of pairs in order.

    first: where the translations of each pair begin, and where the last one's end. refs: the
    reference of each pair, if the choice is by references.
    """

    config: Selecting
    hyps: Hypotheses
    first: Rows
    refs: Mapping[int, str]
    scores: Scores | None = None

    def __call__(self, start: int, stop: int, folder: Path) -> Counts:
        """Choose for pairs start to stop and write the table of what was chosen. -> counts."""
        began = time.perf_counter()
        if isinstance(self.config, ScoredConfig):
            chosen = [self._by_score(pair, self.config) for pair in range(start, stop)]
        else:
            measure = similarity(self.config.similarity)
            chosen = [self._choose(pair, measure, self.config) for pair in range(start, stop)]
        ranks = [rank for places in chosen for rank in range(len(places))]
        firsts = np.repeat(self.first[start:stop], [len(places) for places in chosen])
        rows = firsts + np.array([place for places in chosen for place in places], dtype=np.int64)
        table = self.hyps.table.take(pa.array(rows))
        column = table.schema.get_field_index(Column.HYP_RANK)
        table = table.set_column(column, Column.HYP_RANK, pa.array(ranks, pa.int32()))
        write_table(folder / FILE, table)
        return {
            "pairs": sum(map(bool, chosen)),
            "translations": len(rows),
            "tokens": int(self.hyps.ids.lengths[rows].sum()),
            "unfinished": int((~self.hyps.finished[rows]).sum()),
            "not_the_best": sum(places[0] != 0 for places in chosen if places),
            **({"below": chosen.count([])} if self.scores is not None else {}),
            "seconds": time.perf_counter() - began,
        }

    def _by_score(self, pair: int, config: ScoredConfig) -> list[int]:
        """The place of the finished hypothesis with the highest score, unless that is too low."""
        assert self.scores is not None, "it was planned with scores"
        first, stop = self.first[pair : pair + 2]
        rows = np.arange(first, min(first + config.n, stop))
        eligible = Candidates([""] * len(rows), self.hyps.finished[rows].tolist()).eligible()
        scores = np.nan_to_num(self.scores[rows[eligible]], nan=-np.inf)
        best = int(scores.argmax())
        least = -np.inf if config.at_least is None else config.at_least
        if scores[best] == -np.inf or scores[best] < least:
            return []
        return [int(eligible[best])]

    def _choose(
        self, pair: int, measure: Similarity, config: InterpolationConfig | MultiHypothesisConfig
    ) -> list[int]:
        """Places of the chosen among the hypotheses of a pair."""
        first, stop = self.first[pair : pair + 2]
        most = config.n if isinstance(config, InterpolationConfig) else config.candidates
        rows = np.arange(first, min(first + most, stop))
        candidates = Candidates(self.hyps.texts(rows), self.hyps.finished[rows].tolist())
        if isinstance(config, InterpolationConfig):
            return [closest(candidates, self.refs[int(self.hyps.pair_ids[first])], measure)]
        return least_risk(candidates, config.n, measure)
