"""A corpus of six pairs and what a teacher left of them on disk, in any order."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter

from kdray.artifacts import RECORD, write_json
from kdray.config.methods.union import SingleMethodConfig
from kdray.config.model import ModelConfig
from kdray.config.needs import Needs
from kdray.fit.assemble import Signals, assemble
from kdray.fit.data import TrainingData
from kdray.model.transformer import Transformer
from kdray.schema import Column, Form, Split, View
from kdray.teacher.hypotheses import FILE
from kdray.teacher.stored import Layout
from kdray.text.pairing import source_hashes
from kdray.text.sequences import Sequences, write_table
from kdray.text.tokenizer import EOS

ONE_PASS = {"kind": "hybrid", "layout": "one_pass"}
TWO_PASS = {"kind": "hybrid", "layout": "two_pass"}
CROSS_ENTROPY = {"kind": "cross_entropy"}
SENTENCE_LEVEL = {"kind": "sentence_level"}
BOTH = (View.REFERENCE, View.HYPOTHESIS)
PAIR_IDS = [100, 7, 55, 3, 8, 21]  # neither sorted nor without gaps, as cleaning leaves them


def new_model(*, max_length: int = 512) -> Transformer:
    shape = ModelConfig(preset="nano", width=8, heads=1, max_length=max_length)
    return Transformer(shape, src_vocab=99, tgt_vocab=99, shared=True)


def needs_of(raw: dict[str, str]) -> Needs:
    return TypeAdapter(SingleMethodConfig).validate_python(raw).needs()


def texts(*, salt: int) -> dict[int, list[int]]:
    """For each pair ids that tell which pair they are of."""
    lengths = {p: 2 + (p + salt) % 5 for p in PAIR_IDS}
    return {p: [*((7 * p + salt + i) % 90 + 4 for i in range(n)), EOS] for p, n in lengths.items()}


@dataclass(frozen=True)
class Stored:
    """What lies on disk; every order is one in which pairs stand there."""

    refs: dict[int, list[int]] = field(default_factory=lambda: texts(salt=1))
    srcs: dict[int, list[int]] = field(default_factory=lambda: texts(salt=2))
    hyps: dict[int, list[int]] = field(default_factory=lambda: texts(salt=3))
    hyp_order: list[int] = field(default_factory=lambda: list(PAIR_IDS))
    soft_order: list[int] = field(default_factory=lambda: list(PAIR_IDS))
    unfinished: frozenset[int] = frozenset()
    num_hyps: int = 1
    quarantined: int = 0  # as the records of both distributions say

    def assemble(
        self,
        folder: Path,
        method: dict[str, str],
        *,
        max_tokens: int = 50,
        all_hypotheses: bool = False,
    ) -> TrainingData:
        self._write_encoded(folder / "encoded")
        self._write_hypotheses(folder / "hypotheses")
        for view, ids in ((View.REFERENCE, self.refs), (View.HYPOTHESIS, self.hyps)):
            self._write_distributions(folder / view, ids)
        return assemble(
            needs_of(method),
            encoded=folder / "encoded",
            fetch=Path,
            signals=Signals(
                hypotheses=folder / "hypotheses",
                all_hypotheses=all_hypotheses,
                distributions={view: (Form.TOPK, folder / view) for view in BOTH},
            ),
            max_tokens=max_tokens,
        )

    def _write_encoded(self, folder: Path) -> None:
        folder.mkdir()
        columns = {
            Column.PAIR_ID: pa.array(PAIR_IDS, pa.int64()),
            Column.SRC_HASH: pa.array(source_hashes(map(str, PAIR_IDS))),
            Column.SRC_IDS: pa.array([self.srcs[p] for p in PAIR_IDS], pa.list_(pa.uint16())),
            Column.REF_IDS: pa.array([self.refs[p] for p in PAIR_IDS], pa.list_(pa.uint16())),
        }
        write_table(folder / f"{Split.TRAIN}.arrow", pa.table(columns))

    def _write_hypotheses(self, folder: Path) -> None:
        folder.mkdir()
        rows = [(p, rank) for p in self.hyp_order for rank in range(self.num_hyps)]
        ids = [self.hyps[p] if rank == 0 else [4, EOS] for p, rank in rows]
        columns = {
            Column.PAIR_ID: pa.array([p for p, _ in rows], pa.int64()),
            Column.SRC_HASH: pa.array(source_hashes(str(p) for p, _ in rows)),
            Column.HYP_IDS: pa.array(ids, pa.list_(pa.uint16())),
            Column.HYP_RANK: pa.array([rank for _, rank in rows], pa.int32()),
            Column.FINISHED: pa.array([p not in self.unfinished for p, _ in rows], pa.bool_()),
        }
        write_table(folder / FILE, pa.table(columns))

    def _write_distributions(self, folder: Path, ids: dict[int, list[int]]) -> None:
        """At each position the label and the id above it are kept, so they tell their place."""
        folder.mkdir()
        flat = np.array([i for p in self.soft_order for i in ids[p]], dtype=np.uint16)
        arrays = {
            "ids": np.stack((flat, flat + 1), axis=1),
            "logp": np.log(np.full((len(flat), 2), 0.4)).astype(np.float16),
            "log_tail": np.full((len(flat), 1), np.log(0.2), dtype=np.float32),
            "temperatures": np.ones(1),
            "label_rank": np.zeros(len(flat), dtype=np.uint16),
            "log_label": np.zeros((len(flat), 1), dtype=np.float16),
        }
        offsets = np.cumsum([0, *(len(ids[p]) for p in self.soft_order)])
        layout = Layout(folder, np.array(self.soft_order, dtype=np.int64), offsets)
        layout.save(arrays)
        hashes = source_hashes(map(str, self.soft_order))
        layout.prove(hashes, Sequences.from_lists([ids[p] for p in self.soft_order]))
        write_json(folder / RECORD, {"counts": {"quarantined": self.quarantined}})


def described(data: TrainingData) -> list[object]:
    """Everything of every row, in the data's order."""
    rows: list[object] = []
    for i, pair_id in enumerate(data.pair_ids.tolist()):
        views = {view: ids[i].tolist() for view, ids in data.views.items()}
        soft = {
            view: stored.targets(np.array([i]), temperature=1.0).ids_NK.tolist()
            for view, stored in data.distributions.items()
        }
        rows.append((pair_id, data.src[i].tolist(), views, soft))
    return rows
