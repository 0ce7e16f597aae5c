"""Teacher distributions: the teacher reads a target sequence, its top k at each place is kept."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from kdray.config import DistributionsConfig
from kdray.errors import StageFailed
from kdray.fit.data import build_target
from kdray.methods.base import Batch, packed_states
from kdray.methods.kernel import BLOCK_BYTES
from kdray.model.storage import load_model
from kdray.schema import Split, View
from kdray.teacher.hypotheses import Hypotheses, sum_counts
from kdray.teacher.shards import ShardPlan
from kdray.teacher.topk import TopK, compress
from kdray.text.batching import Rows, cuts
from kdray.text.encoded import EncodedSplit
from kdray.text.tokenizer import PAD

VERSION = 1
TOKENS_PER_BATCH = 4096


class DistributionMaker:
    """Scores shards of the training pairs with the teacher, teacher-forced.

    Args:
        model: folder of the teacher.
        encoded: folder of the encoded corpus, in the teacher's vocabulary.
        hypotheses: folder of its translations; needed for View.HYPOTHESIS.
        view: the target sequence that the teacher reads.
        config: what is kept.
        device: where the teacher runs.
    """

    def __init__(
        self,
        *,
        model: Path,
        encoded: Path,
        hypotheses: Path | None,
        view: View,
        config: DistributionsConfig,
        device: str,
    ) -> None:
        self.model = load_model(model).to(device)
        self.device = torch.device(device)
        self.config = config
        train = EncodedSplit.load(encoded, Split.TRAIN)
        self.pair_ids, self.src, self.targets = train.pair_ids, train.src, train.ref
        if view is View.HYPOTHESIS:
            assert hypotheses is not None, "the config was checked for this"
            hyps = Hypotheses.load(hypotheses)
            rows = np.flatnonzero(np.isin(train.pair_ids, hyps.pair_ids))
            self.pair_ids, self.src, self.targets = hyps.pair_ids, train.src.take(rows), hyps.ids

    def __len__(self) -> int:
        return len(self.pair_ids)

    @torch.inference_mode()
    def __call__(self, start: int, stop: int, folder: Path) -> Mapping[str, Any]:
        """Score rows start to stop and write their arrays. -> counts.

        Pairs longer than the model's positions go to quarantine: counted, without a row.
        """
        began = time.perf_counter()
        positions = self.model.config.max_length
        rows = np.arange(start, stop)
        fits = np.maximum(self.src.lengths[rows], self.targets.lengths[rows]) <= positions
        rows = rows[fits]
        lengths = self.targets.lengths[rows]
        stored = self._empty(rows, lengths)
        order = np.argsort(lengths, kind="stable")
        for part in np.split(order, cuts(lengths[order], most=TOKENS_PER_BATCH)):
            ids, logp, log_tail = self._score(rows[part])
            places = stored.positions(part)
            stored.ids[places] = ids.cpu().numpy()
            stored.logp[places] = logp.cpu().numpy()
            stored.log_tail[places] = log_tail.cpu().numpy()
        stored.save(folder)
        return {
            "pairs": len(rows),
            "tokens": int(lengths.sum()),
            "quarantined": int((~fits).sum()),
            "kept_mass": float((1 - np.exp(stored.log_tail[:, 0])).sum()),
            "seconds": time.perf_counter() - began,
        }

    def _empty(self, rows: Rows, lengths: Rows) -> TopK:
        tokens, k = int(lengths.sum()), self.k
        narrow = np.uint16 if self.model.tgt_vocab <= 2**16 else np.uint32
        return TopK(
            pair_ids=self.pair_ids[rows],
            offsets=np.concatenate(([0], np.cumsum(lengths))),
            ids=np.zeros((tokens, k), dtype=narrow),
            logp=np.zeros((tokens, k), dtype=np.float16),
            log_tail=np.zeros((tokens, len(self.config.temperatures)), dtype=np.float32),
            temperatures=self.config.temperatures,
        )

    @property
    def k(self) -> int:
        """Entries kept at each position."""
        return self.config.k

    def _score(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        src = torch.from_numpy(self.src.padded(rows, pad=PAD)).to(self.device)
        view = View.REFERENCE  # a name for the only target of this batch
        target = build_target(self.targets, rows, device=self.device)
        batch = Batch(src_BS=src, src_mask_BS=src != PAD, targets={view: target})
        memory = self.model.encode(batch.src_BS, batch.src_mask_BS)
        states = packed_states(self.model, batch, view, memory_BSD=memory)
        block = max(16, BLOCK_BYTES // (4 * self.model.tgt_vocab))
        parts = [
            compress(some @ self.model.output_weight.T, k=self.k,
                     temperatures=self.config.temperatures)
            for some in torch.split(states, block)
        ]  # fmt: skip
        ids, logp, log_tail = (torch.cat(each) for each in zip(*parts, strict=True))
        return ids, logp, log_tail


def join_shards(
    plan: ShardPlan, wanted: int, config: DistributionsConfig, folder: Path
) -> dict[str, Any]:
    """Put the finished shards together in the order of their rows. -> counts.

    Raises:
        StageFailed: the shards do not make up the `wanted` pairs.
    """
    shards = [
        TopK.load(plan.path(i), temperatures=config.temperatures) for i in range(len(plan.ranges))
    ]
    counts = sum_counts(plan.counts())
    pairs = sum(len(shard.pair_ids) for shard in shards)
    if pairs + counts["quarantined"] != wanted:
        raise StageFailed(
            f"{plan.folder}: {pairs} scored pairs and {counts['quarantined']} in quarantine do not "
            f"make up the {wanted} that were to be scored; remove the folder and run again"
        )
    lengths = np.concatenate([np.diff(shard.offsets) for shard in shards])
    np.save(folder / "pair_ids.npy", np.concatenate([shard.pair_ids for shard in shards]))
    np.save(folder / "offsets.npy", np.concatenate(([0], np.cumsum(lengths))))
    for name in ("ids", "logp", "log_tail"):
        first = getattr(shards[0], name)
        shape = (int(lengths.sum()), first.shape[1])
        whole = open_memmap(folder / f"{name}.npy", mode="w+", dtype=first.dtype, shape=shape)
        start = 0
        for shard in shards:
            part = getattr(shard, name)
            whole[start : start + len(part)] = part
            start += len(part)
        whole.flush()
    counts["kept_mass"] = round(counts["kept_mass"] / max(counts["tokens"], 1), 6)
    return counts
