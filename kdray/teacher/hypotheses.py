"""Teacher translations: made by beam search, one Arrow row for each, best first within a pair."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kdray.config.signals import HypothesesConfig
from kdray.errors import StageFailed
from kdray.methods.online import OnlineTeacher
from kdray.model.ctranslate2 import FastTranslator, export
from kdray.model.generate import Hypothesis, SearchOptions, generate
from kdray.model.storage import load_model
from kdray.schema import Column, Split
from kdray.teacher.ensemble import load_members, weigh
from kdray.teacher.shards import ShardPlan
from kdray.text.batching import Rows
from kdray.text.encoded import EncodedSplit
from kdray.text.sequences import Sequences, id_type, read_table, write_table
from kdray.text.tokenizer import Tokenizer

VERSION = 1
FILE = "hypotheses.arrow"


@dataclass(frozen=True, slots=True)
class Hypotheses:
    """Stored translations: the best of each pair, or all, those of a pair together, best first.

    table, places: where the texts are, which are read only when they are asked for.
    """

    pair_ids: NDArray[np.int64]
    ids: Sequences
    finished: NDArray[np.bool_]
    ranks: NDArray[np.int32]
    table: pa.Table
    places: Rows

    @classmethod
    def load(cls, folder: Path, *, best_only: bool = True) -> "Hypotheses":
        """Read a published artifact.

        Raises:
            DataError: the file is missing or damaged.
        """
        table = read_table(folder / FILE)
        ranks = table[Column.HYP_RANK].to_numpy()
        places = np.flatnonzero(ranks == 0) if best_only else np.arange(len(ranks))
        ids = Sequences.from_column(table[Column.HYP_IDS])
        return cls(
            pair_ids=table[Column.PAIR_ID].to_numpy()[places],
            ids=ids if len(places) == len(ids) else ids.take(places),
            finished=table[Column.FINISHED].to_numpy(zero_copy_only=False)[places],
            ranks=ranks[places],
            table=table,
            places=places,
        )

    def texts(self, rows: Rows) -> list[str]:
        """Translations as text."""
        chosen = self.table[Column.HYP].take(pa.array(self.places[rows]))
        return [str(text) for text in chosen.to_pylist()]


class HypothesisMaker:
    """Translates shards of the training sources.

    Args:
        models: folders of the teacher: one, which CTranslate2 runs on a CPU, or the members of an
            ensemble. What CTranslate2 does not run, PyTorch does, with the same results.
        exported: folder of the CTranslate2 form of the one model (see `export_teacher`).
        encoded: folder of the encoded corpus, in the teacher's vocabulary.
        config: beam search.
        threads: sentences that CTranslate2 translates at the same time.
        device: where the teacher runs.
        by_perplexity: whether each member weighs by the inverse of its perplexity on the pair's
            reference, and not as much as every other.

    Raises:
        DataError: a folder is not what it should be.
    """

    def __init__(
        self,
        *,
        models: tuple[Path, ...],
        exported: Path | None,
        encoded: Path,
        config: HypothesesConfig,
        threads: int,
        device: str = "cpu",
        by_perplexity: bool = False,
    ) -> None:
        self.tokenizer = Tokenizer.load(models[0])
        self.train = EncodedSplit.load(encoded, Split.TRAIN)
        self.options = SearchOptions(
            beam=config.beam,
            num_hyps=config.num_hyps,
            length_penalty=config.length_penalty,
            max_length_ratio=config.max_length_ratio,
            max_length_slack=config.max_length_slack,
        )
        self.by_perplexity = by_perplexity
        members = load_members(models, device=device)
        self.teacher = OnlineTeacher(members)
        self.positions = self.teacher.positions
        self.translator: FastTranslator | None = None
        if len(members) == 1 and device == "cpu":
            assert exported is not None, "one model is exported before it is asked"
            self.translator = FastTranslator.load(
                exported, self.tokenizer, positions=self.positions, threads=threads
            )

    def __call__(self, start: int, stop: int, folder: Path) -> Mapping[str, Any]:
        """Translate rows start to stop and write their table. -> counts.

        Sources longer than the model's positions go to quarantine: counted, without a row.
        """
        began = time.perf_counter()
        fits = self.train.src.lengths[start:stop] <= self.positions
        rows = np.arange(start, stop)[fits]
        flat = [(row, rank, hyp) for row, best in zip(rows, self._translate(rows), strict=True)
                for rank, hyp in enumerate(best)]  # fmt: skip
        ids = [hyp.ids for _, _, hyp in flat]
        table = pa.table(
            {
                Column.PAIR_ID: pa.array(
                    [int(self.train.pair_ids[row]) for row, _, _ in flat], pa.int64()
                ),
                Column.HYP_RANK: pa.array([rank for _, rank, _ in flat], pa.int32()),
                Column.HYP: pa.array(self.tokenizer.decode_tgt(ids), pa.large_string()),
                Column.HYP_IDS: pa.array(ids, pa.list_(id_type(self.tokenizer.tgt_vocab))),
                Column.HYP_SCORE: pa.array([hyp.score for _, _, hyp in flat], pa.float32()),
                Column.FINISHED: pa.array([hyp.finished for _, _, hyp in flat], pa.bool_()),
            }
        )
        write_table(folder / FILE, table)
        return {
            "pairs": len(rows),
            "tokens": sum(len(row) for row in ids),
            "unfinished": sum(not hyp.finished for _, rank, hyp in flat if rank == 0),
            "quarantined": int((~fits).sum()),
            "seconds": time.perf_counter() - began,
        }

    def _translate(self, rows: Rows) -> list[list[Hypothesis]]:
        src = [self.train.src[row].tolist() for row in rows]
        if self.translator is not None:
            return self.translator.translate(src, self.options)
        weights = None
        if self.by_perplexity:
            weights = weigh(self.teacher, self.train.src, self.train.ref, rows)
        return generate(self.teacher.models, src, self.options, log_weights_BM=weights)


def export_teacher(model: Path, folder: Path) -> None:
    """Write the CTranslate2 form of a stored model, unless it is there."""
    if not (folder / "model.bin").exists():
        export(load_model(model), Tokenizer.load(model), folder)


def join_shards(plan: ShardPlan, encoded: Path, folder: Path) -> dict[str, Any]:
    """Put the finished shards together in the corpus's order. -> counts.

    Raises:
        StageFailed: the pairs are not exactly those of the corpus less the quarantined ones.
    """
    table = pa.concat_tables([read_table(plan.path(i) / FILE) for i in range(len(plan.ranges))])
    counts = sum_counts(plan.counts())
    best = table[Column.PAIR_ID].to_numpy()[table[Column.HYP_RANK].to_numpy() == 0]
    wanted = EncodedSplit.load(encoded, Split.TRAIN).pair_ids
    in_order = wanted[np.isin(wanted, best)]
    if len(best) + counts["quarantined"] != len(wanted) or not np.array_equal(best, in_order):
        raise StageFailed(
            f"{plan.folder}: translations of {len(best)} pairs and {counts['quarantined']} in "
            f"quarantine do not make up the corpus of {len(wanted)}; remove the folder, run again"
        )
    write_table(folder / FILE, table)
    return counts


def sum_counts(counts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum each count over the shards."""
    return {name: sum(each[name] for each in counts) for name in (counts[0] if counts else {})}


def recode(stored: Path, tokenizer: Tokenizer, folder: Path) -> dict[str, Any]:
    """Translations in the pieces of another tokenizer, for students with their own. -> counts."""
    table = read_table(stored / FILE)
    ids = tokenizer.encode_tgt(table[Column.HYP].to_pylist())
    column = pa.array(ids, pa.list_(id_type(tokenizer.tgt_vocab)))
    place = table.schema.get_field_index(Column.HYP_IDS)
    write_table(folder / FILE, table.set_column(place, Column.HYP_IDS, column))
    return {"translations": table.num_rows, "tokens": sum(len(row) for row in ids)}
