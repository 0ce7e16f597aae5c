"""Scores of the teacher's translations: one Arrow row for each translation, in their order.

A score is kept for itself, whatever is chosen by it later: another threshold reads it again and
decodes nothing. More is better. A translation that cannot be scored has NaN.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kdray.artifacts import Brought, Fetch, Key, keys_among
from kdray.config.scores import (
    AgreementScoreConfig,
    CrossEntropyScoreConfig,
    ModelScoreConfig,
    ReferenceScoreConfig,
    RiskScoreConfig,
    ScoreConfig,
    ScorerScoreConfig,
)
from kdray.errors import ConfigError, DataError
from kdray.jobs import Counts
from kdray.model.generate import SearchOptions
from kdray.schema import Column, Split
from kdray.scoring.job import numbers_of, scorer_of
from kdray.scoring.scorer import Segment
from kdray.teacher.hypotheses import SHARD, Hypotheses, in_parts, join_shards
from kdray.teacher.own import OwnModels
from kdray.teacher.references import read_references
from kdray.teacher.similarity import similarity, utility
from kdray.text.batching import Rows
from kdray.text.corpus import Corpus
from kdray.text.sequences import Sequences, read_table, write_table
from kdray.text.tokenizer import Tokenizer

VERSION = 1
FILE = "scores.arrow"
SCORE = "score"

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Some:
    """Some translations, those of a pair together: texts of both sides and the reference."""

    src: Sequence[str]
    hyps: Sequence[str]
    refs: Sequence[str]
    pairs: Rows  # which translations are of the same pair
    logp: Scores  # of the teacher, its sum
    tokens: Rows


class Measure(Protocol):
    """Gives each translation its score."""

    def __call__(self, some: Some) -> Scores:
        """One number for each."""


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """Score all translations of each pair. Sharded; see `kdray.jobs`.

    second: the model that the score asks, if it asks one.
    """

    hypotheses: Key
    corpus: Key
    config: ScoreConfig
    second: Brought | None = None

    @property
    def key(self) -> Key:
        """Of the translations, the way to score and the second model."""
        recipe = self.config.model_dump(mode="json", exclude={"path", "reads_references"})
        if isinstance(self.config, ScorerScoreConfig):
            recipe["scorer"].pop("timeout_seconds", None)
            recipe["version"] = scorer_of(self.config.scorer).version
        inputs = {"hypotheses": self.hypotheses.fingerprint, "corpus": self.corpus.fingerprint}
        inputs |= {"second": self.second.fingerprint} if self.second else {}
        return Key("hypothesis_scores", VERSION, recipe, inputs)

    @property
    def reads(self) -> tuple[Key, ...]:
        """The translations and the corpus."""
        return keys_among(self.hypotheses, self.corpus)

    @property
    def on_gpu(self) -> bool:
        """Whether a model of kdray works. What a scorer from outside runs has no GPU."""
        return self.second is not None

    def check(self) -> None:
        """See whether what a scorer from outside needs is there, if one scores.

        Raises:
            ConfigError: it is not.
        """
        if isinstance(self.config, ScorerScoreConfig):
            try:
                scorer_of(self.config.scorer).check(self.config.scorer)
            except ConfigError as error:
                raise ConfigError(f"recipe.signals.scores (scorer): {error}") from None

    def prepare(self, work: Path, fetch: Fetch, *, device: str) -> int:
        """Make what the processes share. -> the number of pairs that have translations."""
        if isinstance(self.config, AgreementScoreConfig):
            assert self.second is not None, "it was planned with one"
            OwnModels((self.second,)).prepare(work, fetch, device=device)
        return len(Hypotheses.load(fetch(self.hypotheses)).pair_ids)

    def builder(self, work: Path, fetch: Fetch, *, device: str) -> "ScoreMaker":
        """What scores the translations of some pairs.

        Raises:
            DataError: a folder is damaged, or translations are of other pairs than the corpus has.
        """
        hyps = Hypotheses.load(fetch(self.hypotheses), best_only=False)
        table = Corpus(fetch(self.corpus)).table(Split.TRAIN)
        rows = hyps.rows_in(table, what=str(fetch(self.hypotheses)))
        return ScoreMaker(hyps, table, rows, hyps.first, self._measure(work, fetch, device))

    def join(
        self, shards: Sequence[Path], counts: Sequence[Counts], folder: Path, fetch: Fetch
    ) -> Counts:
        """Take the finished shards, which stand in the order of the translations. -> counts.

        Raises:
            StageFailed: the pairs are not exactly those of the translations.
        """
        wanted = Hypotheses.load(fetch(self.hypotheses)).pair_ids
        sizes = [each["pairs"] for each in counts]
        parts = in_parts([wanted], sizes)
        return join_shards(shards, counts, folder, wanted=parts, file=FILE)

    def _measure(self, work: Path, fetch: Fetch, device: str) -> Measure:
        config = self.config
        match config:
            case ModelScoreConfig():
                return lambda some: some.logp / np.maximum(some.tokens, 1) ** config.length_penalty
            case ReferenceScoreConfig():
                return lambda some: _to_references(some, config)
            case RiskScoreConfig():
                return lambda some: _of_risk(some, config)
            case ScorerScoreConfig():
                return lambda some: _from_outside(some, config)
        assert self.second is not None, "it was planned with one"
        teacher = OwnModels((self.second,))
        if isinstance(config, AgreementScoreConfig):
            return _Agreement(teacher, config, work, fetch, device)
        return _CrossEntropy(teacher, config, fetch, device)


@dataclass(frozen=True, slots=True)
class ScoreMaker:
    """Scores the translations of pairs in order.

    rows: the row of the corpus of each translation. first: where those of each pair begin.
    """

    hyps: Hypotheses
    corpus: pa.Table
    rows: Rows
    first: Rows
    measure: Measure

    def __call__(self, start: int, stop: int, folder: Path) -> Counts:
        """Score the translations of pairs start to stop and write their table. -> counts."""
        began = time.perf_counter()
        places = np.arange(self.first[start], self.first[stop])
        texts = self.corpus.take(pa.array(self.rows[places]))
        src, refs = (texts[name].to_pylist() for name in (Column.SRC, Column.REF))
        logp = self.hyps.table[Column.HYP_SCORE].to_numpy()[places].astype(np.float64)
        tokens, pairs = self.hyps.ids.lengths[places], self.hyps.pair_ids[places]
        some = Some(src, self.hyps.texts(places), refs, pairs, logp, tokens)
        scores = self.measure(some)
        columns = {
            Column.PAIR_ID: pa.array(pairs),
            Column.SRC_HASH: pa.array(self.hyps.src_hashes[places]),
            Column.HYP_RANK: pa.array(self.hyps.ranks[places]),
            SCORE: pa.array(scores, pa.float64()),
        }
        write_table(folder / FILE, pa.table(columns))
        return {
            "pairs": stop - start,
            "translations": len(places),
            "unscored": int(np.isnan(scores).sum()),
            "seconds": time.perf_counter() - began,
        }


def load_scores(folder: Path, hyps: Hypotheses) -> Scores:
    """The score of each translation.

    Raises:
        DataError: the file is damaged, or holds scores of other translations.
    """
    shards = sorted(folder.glob(f"{SHARD}/{FILE}")) or [folder / FILE]
    table = pa.concat_tables([read_table(shard) for shard in shards])
    for name, own in ((Column.PAIR_ID, hyps.pair_ids), (Column.SRC_HASH, hyps.src_hashes),
                      (Column.HYP_RANK, hyps.ranks)):  # fmt: skip
        if not np.array_equal(table[name].to_numpy(), own):
            raise DataError(
                f"{folder}: its {name} are not those of the translations that it should score; "
                "remove it and run again"
            )
    return np.asarray(table[SCORE].to_numpy(), dtype=np.float64)


def _of_pairs(some: Some) -> list[Rows]:
    """The places of each pair's translations."""
    return np.split(np.arange(len(some.pairs)), np.flatnonzero(np.diff(some.pairs)) + 1)


def _to_references(some: Some, config: ReferenceScoreConfig) -> Scores:
    measure, scores = similarity(config.similarity), np.zeros(len(some.hyps))
    for places in _of_pairs(some):
        if len(places):
            hyps = [some.hyps[place] for place in places]
            scores[places] = measure.to(some.refs[places[0]], hyps)
    return scores


def _of_risk(some: Some, config: RiskScoreConfig) -> Scores:
    measure, scores = similarity(config.similarity), np.zeros(len(some.hyps))
    for places in _of_pairs(some):
        if len(places):
            scores[places] = utility([some.hyps[place] for place in places], measure)
    return scores


def _from_outside(some: Some, config: ScorerScoreConfig) -> Scores:
    segments = [Segment(*each) for each in zip(some.src, some.hyps, some.refs, strict=True)]
    numbers = numbers_of(config.scorer, segments)
    return np.array(numbers, dtype=np.float64) * (1 if config.scorer.higher_is_better else -1)


class _CrossEntropy:
    """See `CrossEntropyScoreConfig`."""

    def __init__(
        self, teacher: OwnModels, config: CrossEntropyScoreConfig, fetch: Fetch, device: str
    ) -> None:
        self.backward = config.direction == "backward"
        self.tokenizer = Tokenizer.load(fetch(teacher.members[0]))
        self.reader = teacher.reader(fetch, device=device)

    def __call__(self, some: Some) -> Scores:
        read, asked = (some.hyps, some.src) if self.backward else (some.src, some.hyps)
        src = Sequences.from_lists(self.tokenizer.encode_src(list(read)))
        target = Sequences.from_lists(self.tokenizer.encode_tgt(list(asked)))
        scores = np.full(len(some.hyps), np.nan)
        longest = np.maximum(src.lengths, target.lengths)
        rows = np.flatnonzero(longest <= self.reader.positions)
        _, loss = read_references(self.reader, src, target, rows, by_perplexity=False)
        scores[rows] = -loss / target.lengths[rows]
        return scores


class _Agreement:
    """See `AgreementScoreConfig`."""

    def __init__(
        self,
        teacher: OwnModels,
        config: AgreementScoreConfig,
        work: Path,
        fetch: Fetch,
        device: str,
    ) -> None:
        self.engine = teacher.open(fetch, device=device, threads=1, work=work)
        self.options = SearchOptions(beam=config.beam)
        self.measure = similarity(config.similarity)

    def __call__(self, some: Some) -> Scores:
        scores, of_pairs = np.full(len(some.hyps), np.nan), _of_pairs(some)
        sources = [some.src[places[0]] for places in of_pairs if len(places)]
        translations = self.engine.translate(sources, self.options)
        for places, best in zip(of_pairs, translations, strict=False):
            if best:
                hyps = [some.hyps[place] for place in places]
                scores[places] = self.measure.to(best[0].text, hyps)
        return scores
