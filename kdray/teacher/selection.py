"""Which of a pair's hypotheses are learned: the closest to its reference, or those of least risk.

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
from numpy.typing import NDArray

from kdray.artifacts import Fetch, Key
from kdray.config.methods.interpolation import InterpolationConfig
from kdray.config.methods.multi_hypothesis import MultiHypothesisConfig
from kdray.errors import DataError
from kdray.jobs import Counts
from kdray.schema import Column, Split
from kdray.teacher.hypotheses import FILE, Hypotheses, in_parts, join_shards
from kdray.teacher.similarity import Similarity, similarity
from kdray.text.batching import Rows
from kdray.text.corpus import Corpus
from kdray.text.pairing import check_pairs, join, source_hashes
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
        utility = _utility(candidates.texts, measure)[eligible].round(DECIMALS)
        eligible = eligible[np.argsort(-utility, kind="stable")]
    return [int(place) for place in eligible[:n]]


def _utility(texts: Sequence[str], measure: Similarity) -> NDArray[np.float64]:
    """Mean similarity of each text to all of them, equal ones compared once. -> [texts]."""
    distinct = list(dict.fromkeys(texts))
    place = {text: i for i, text in enumerate(distinct)}
    of_text = np.array([place[text] for text in texts])
    weight = np.bincount(of_text) / len(texts)
    return np.asarray((measure.among(distinct) @ weight)[of_text])


@dataclass(frozen=True, slots=True)
class SelectionJob:
    """Choose among the n-best translations of each pair. Sharded; see `kdray.jobs`.

    `corpus` has the references that are compared with; `config` says how to choose, and among how
    many.
    """

    on_gpu: ClassVar[bool] = False

    hypotheses: Key
    corpus: Key
    config: InterpolationConfig | MultiHypothesisConfig
    encoded: Key  # in the students' pieces: a part of the identity

    @property
    def key(self) -> Key:
        """Of the translations and how to choose, which label smoothing is no part of."""
        recipe = self.config.model_dump(mode="json", exclude={"label_smoothing"})
        inputs = {"hypotheses": self.hypotheses, "encoded": self.encoded}
        return Key("selection", VERSION, recipe, {k: v.fingerprint for k, v in inputs.items()})

    @property
    def reads(self) -> tuple[Key, ...]:
        """The translations, and the corpus if references are looked at."""
        uses_refs = isinstance(self.config, InterpolationConfig)
        return (self.hypotheses, *([self.corpus] if uses_refs else []))

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
            rows = join(hyps.pair_ids, table[Column.PAIR_ID].to_numpy(), what="the corpus")
            hashes = source_hashes(table[Column.SRC].to_pylist())[rows]
            folder = str(fetch(self.hypotheses))
            check_pairs(hyps.src_hashes, hashes, hyps.pair_ids, what=folder)
        first = np.append(np.flatnonzero(hyps.ranks == 0), len(hyps.ranks))
        return SelectionMaker(self.config, hyps, first, refs)

    def join(
        self, shards: Sequence[Path], counts: Sequence[Counts], folder: Path, fetch: Fetch
    ) -> Counts:
        """Put the finished shards together in the order of the translations. -> counts.

        Raises:
            StageFailed: the pairs are not exactly those of the translations.
        """
        wanted = Hypotheses.load(fetch(self.hypotheses)).pair_ids
        sizes = [each["pairs"] for each in counts]
        return join_shards(shards, counts, folder, wanted=in_parts([wanted], sizes))


@dataclass(frozen=True, slots=True)
class SelectionMaker:
    """Chooses among the translations of pairs in order.

    first: where the translations of each pair begin, and where the last one's end. refs: the
    reference of each pair, if the choice is by references.
    """

    config: InterpolationConfig | MultiHypothesisConfig
    hyps: Hypotheses
    first: Rows
    refs: Mapping[int, str]

    def __call__(self, start: int, stop: int, folder: Path) -> Counts:
        """Choose for pairs start to stop and write the table of what was chosen. -> counts."""
        began = time.perf_counter()
        measure = similarity(self.config.similarity)
        chosen = [self._choose(pair, measure) for pair in range(start, stop)]
        ranks = [rank for places in chosen for rank in range(len(places))]
        firsts = np.repeat(self.first[start:stop], [len(places) for places in chosen])
        rows = firsts + np.array([place for places in chosen for place in places], dtype=np.int64)
        table = self.hyps.table.take(pa.array(rows))
        column = table.schema.get_field_index(Column.HYP_RANK)
        table = table.set_column(column, Column.HYP_RANK, pa.array(ranks, pa.int32()))
        write_table(folder / FILE, table)
        return {
            "pairs": len(chosen),
            "translations": len(rows),
            "tokens": int(self.hyps.ids.lengths[rows].sum()),
            "unfinished": int((~self.hyps.finished[rows]).sum()),
            "not_the_best": sum(places[0] != 0 for places in chosen),
            "seconds": time.perf_counter() - began,
        }

    def _choose(self, pair: int, measure: Similarity) -> list[int]:
        """Places of the chosen among the hypotheses of a pair."""
        config, first, stop = self.config, *self.first[pair : pair + 2]
        most = config.n if isinstance(config, InterpolationConfig) else config.candidates
        rows = np.arange(first, min(first + most, stop))
        candidates = Candidates(self.hyps.texts(rows), self.hyps.finished[rows].tolist())
        if isinstance(config, InterpolationConfig):
            return [closest(candidates, self.refs[int(self.hyps.pair_ids[first])], measure)]
        return least_risk(candidates, config.n, measure)
