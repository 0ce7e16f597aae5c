"""The teacher translates the training sources, shard by shard."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kdray.artifacts import Fetch, Key, keys_among
from kdray.config.signals import HypothesesConfig
from kdray.errors import ConfigError
from kdray.jobs import Counts
from kdray.model.generate import Sampling, SearchOptions
from kdray.schema import Column, Split
from kdray.seeds import derive_seed
from kdray.teacher.attempts import NO_ATTEMPT, Attempt
from kdray.teacher.earlier import Earlier
from kdray.teacher.engine import (
    DrawingEngine,
    Engine,
    PieceEngine,
    Teacher,
    Translation,
    answered,
    translate,
)
from kdray.teacher.hypotheses import FILE, in_parts, join_shards, read_rows, with_ids
from kdray.teacher.quarantine import TOO_LONG, Careful, join_quarantine, write_quarantine
from kdray.text.pairing import source_hashes
from kdray.text.pieces import of_pieces
from kdray.text.sequences import write_table

VERSION = 2
LETTERS_OF_A_TOKEN = 3  # about; where only the size of a batch depends on it


@dataclass(frozen=True, slots=True)
class TranslationJob:
    """Translate the training sources with the teacher. Sharded; see `kdray.jobs`.

    Sources that are too long for the teacher, or that it fails with, go to quarantine: they are
    counted and kept with the reason, without a row.
    """

    teacher: Teacher
    corpus: Key
    config: HypothesesConfig
    encoded: Key  # in the teacher's pieces, if it has some: a part of the identity

    @property
    def key(self) -> Key:
        """Of the teacher, its way to translate and the text as it reads it."""
        read = self.encoded if self.teacher.has_pieces else self.corpus
        inputs = {**self.teacher.identity, read.stage: read.fingerprint}
        return Key("hypotheses", VERSION, self.config.identity(), inputs)

    @property
    def reads(self) -> tuple[Key, ...]:
        """The corpus and the teacher."""
        return keys_among(self.corpus, *self.teacher.sources)

    @property
    def on_gpu(self) -> bool:
        """Whether the teacher gains from a GPU."""
        return self.teacher.on_gpu

    def continues(self, content: Mapping[str, Any]) -> bool:
        """Whether an artifact of such content has translations that this job would make again.

        That is one by the same teacher in the same way, of another corpus, whatever made that; not
        if a translation depends on more of a pair than its source: on the reference, where the
        teacher weighs its members by it, or on the pair_id, where it is drawn.
        """
        if self.teacher.by_perplexity or self.config.sampling is not None:
            return False
        own = self.key.content()

        def way(of: Mapping[str, Any]) -> Any:  # noqa: ANN401 (JSON)
            inputs = {name: of["inputs"].get(name) for name in self.teacher.identity}
            return of["version"], of["recipe"], inputs

        return content != own and way(content) == way(own)

    def prepare(self, work: Path, fetch: Fetch, *, device: str) -> int:
        """Make what the teacher's processes share. -> the number of training pairs."""
        self.teacher.prepare(work, fetch, device=device)
        return int(pq.read_metadata(_training_pairs(fetch(self.corpus))).num_rows)

    def builder(self, work: Path, fetch: Fetch, *, device: str) -> "TranslationMaker":
        """A teacher that translates rows of the corpus.

        Raises:
            DataError: what the teacher is made of is missing or damaged.
        """
        pieces = self.teacher.tokenizer_checksum(fetch)
        return TranslationMaker(
            engine=self.teacher.open(fetch, device=device, threads=1, work=work),
            pairs=_training_pairs(fetch(self.corpus)),
            config=self.config,
            earlier=Earlier.load(work, fetch, pieces=pieces),
            device=device,
            pieces=pieces,
        )

    def join(
        self, shards: Sequence[Path], counts: Sequence[Counts], folder: Path, fetch: Fetch
    ) -> Counts:
        """Take the finished shards, which stand in the corpus's order. -> counts.

        Raises:
            StageFailed: the pairs are not exactly those of the corpus less the quarantined ones.
        """
        file = pq.ParquetFile(_training_pairs(fetch(self.corpus)))
        ids = (
            batch.column(0).to_numpy(zero_copy_only=False)
            for batch in file.iter_batches(columns=[Column.PAIR_ID])
        )
        join_quarantine(shards, folder)
        sizes = [each["pairs"] + each["quarantined"] for each in counts]
        return join_shards(shards, counts, folder, wanted=in_parts(ids, sizes))


@dataclass(frozen=True, slots=True)
class TranslationMaker:
    """Translates shards of the corpus; see `kdray.teacher.making`.

    earlier: translations that are there already, from a corpus that shares sources with this one.
    pieces: the checksum of the tokenizer whose ids the engine gives, if it is known.
    """

    takes_attempts: ClassVar[bool] = True

    engine: Engine
    pairs: Path
    config: HypothesesConfig
    earlier: Earlier
    device: str
    pieces: str | None = None

    def __call__(
        self, start: int, stop: int, folder: Path, *, attempt: Attempt = NO_ATTEMPT
    ) -> Counts:
        """Translate pairs start to stop and write the table of their translations. -> counts."""
        began = time.perf_counter()
        batch = Pairs.of(read_rows(self.pairs, start, stop))
        hashes = source_hashes(batch.src)
        known = self.earlier.of(hashes)
        new = [row for row in range(len(batch.src)) if row not in known]
        careful = Careful(lambda rows: self._translate(batch.take(rows)), attempt)
        lengths = np.array([len(text) // LETTERS_OF_A_TOKEN + 1 for text in batch.src])
        best = known | careful.each(new, lengths)
        rows = [(row, rank, hyp) for row in sorted(best) for rank, hyp in enumerate(best[row])]
        pairs_of = np.array([row for row, _, _ in rows], dtype=np.int64)
        columns = {
            Column.PAIR_ID: pa.array(batch.pair_ids[pairs_of]),
            Column.SRC_HASH: pa.array(hashes[pairs_of]),
            Column.HYP_RANK: pa.array([rank for _, rank, _ in rows], pa.int32()),
            Column.HYP: pa.array([hyp.text for *_, hyp in rows], pa.large_string()),
            Column.HYP_SCORE: pa.array([hyp.score for *_, hyp in rows], pa.float32()),
            Column.FINISHED: pa.array([hyp.finished for *_, hyp in rows], pa.bool_()),
        }
        table, counts = pa.table(columns), dict[str, int]()
        if pieces := sum(hyp.num_pieces for *_, hyp in rows):
            counts["tokens"] = pieces
        if self.engine.vocabulary is not None:
            ids = [hyp.ids for *_, hyp in rows]
            table, counts["tokens"] = with_ids(table, ids, vocabulary=self.engine.vocabulary)
            table = of_pieces(table, self.pieces)
        write_table(folder / FILE, table)
        translated = sum(map(bool, best.values()))
        refused = {
            row: careful.refused.get(row, TOO_LONG)
            for row in range(len(batch.src))
            if not best.get(row)
        }
        write_quarantine(folder, [batch.refused(row, why) for row, why in refused.items()])
        return {
            "pairs": translated,
            "unfinished": sum(not hyp.finished for _, rank, hyp in rows if rank == 0),
            "quarantined": len(refused),
            "reused": len(known),
            **counts,
            "seconds": time.perf_counter() - began,
        }

    def _translate(self, batch: "Pairs") -> list[list[Translation]]:
        """The translations of each source, best first; of drawn ones, in the order of drawing."""
        engine, config, options = self.engine, self.config, search_options(self.config)
        if config.sampling is not None:
            assert isinstance(engine, DrawingEngine), "the plan was checked for this"
            seeds = [
                [derive_seed(config.sampling.seed, pair_id, n) for n in range(config.num_hyps)]
                for pair_id in batch.pair_ids.tolist()
            ]
            drawing, prefix = engine, config.prefix
            return answered(
                engine,
                batch.src,
                lambda: drawing.draw(batch.src, seeds=seeds, options=options, prefix=prefix),
            )
        if config.prefix:
            assert isinstance(engine, PieceEngine), "the plan was checked for this"
            going, prefixes = engine, [config.prefix] * len(batch.src)
            return answered(engine, batch.src, lambda: going.go_on(batch.src, prefixes, options))
        return translate(engine, batch.src, options, batch.refs)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Some pairs of the corpus."""

    pair_ids: NDArray[np.int64]
    src: list[str]
    refs: list[str]

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        """The pairs of a table."""
        src, refs = (table[name].to_pylist() for name in (Column.SRC, Column.REF))
        return cls(table[Column.PAIR_ID].to_numpy(), src, refs)

    def take(self, rows: Sequence[int]) -> "Pairs":
        """Those in the given rows."""
        src, refs = [self.src[row] for row in rows], [self.refs[row] for row in rows]
        return Pairs(self.pair_ids[np.array(rows, dtype=np.int64)], src, refs)

    def refused(self, row: int, reason: str) -> dict[str, Any]:
        """A row as it stands in quarantine."""
        pair_id = int(self.pair_ids[row])
        return {"pair_id": pair_id, "reason": reason, "src": self.src[row]}


def search_options(config: HypothesesConfig) -> SearchOptions:
    """How a recipe wants translations to be searched or drawn."""
    drawn = config.sampling
    return SearchOptions(
        beam=config.beam,
        num_hyps=config.num_hyps,
        length_penalty=config.length_penalty,
        max_length_ratio=config.max_length_ratio,
        max_length_slack=config.max_length_slack,
        no_repeat_ngram=config.no_repeat_ngram,
        sampling=Sampling(drawn.temperature, drawn.top_k, drawn.top_p) if drawn else None,
    )


def check_modes(config: HypothesesConfig, teacher: Teacher) -> None:
    """Refuse a way to translate that the teacher does not have.

    Raises:
        ConfigError: it has not.
    """
    if lacking := sorted(config.modes - teacher.modes):
        can = ", ".join(sorted(teacher.modes)) or "none of these"
        raise ConfigError(
            f"recipe.signals.hypotheses.{lacking[0]}: this teacher cannot do that; it can do "
            f"{can}; leave it out, or take a teacher of kind trained or checkpoint"
        )
    if config.prefix and teacher.by_perplexity:
        raise ConfigError(
            "recipe.signals.hypotheses.prefix: an ensemble that weighs by perplexity cannot go on "
            "from a prefix; set recipe.teacher.weights to uniform"
        )


def _training_pairs(corpus: Path) -> Path:
    return corpus / f"{Split.TRAIN}.parquet"
