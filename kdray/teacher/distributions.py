"""Teacher distributions: the teacher reads a target sequence, and what it says is kept."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import torch

from kdray.config.signals import HiddenConfig, SampledConfig, TopKConfig
from kdray.errors import ConfigError, StageFailed
from kdray.methods.online import OnlineTeacher
from kdray.schema import Split, View
from kdray.teacher.ensemble import (
    TOKENS_PER_BATCH,
    load_members,
    log_weights,
    read_pairs,
    weigh,
)
from kdray.teacher.hidden import HiddenWriter
from kdray.teacher.hypotheses import Hypotheses, sum_counts
from kdray.teacher.sampled import SampledWriter
from kdray.teacher.shards import ShardPlan
from kdray.teacher.stored import Layout, Read, Writer, bytes_in, join_arrays, offsets_of
from kdray.teacher.topk import TopKWriter
from kdray.text.batching import Rows, cuts
from kdray.text.encoded import EncodedSplit

VERSION = 2

StoredConfig = TopKConfig | SampledConfig | HiddenConfig


def check_k(config: StoredConfig, vocabulary: int) -> None:
    """Raise ConfigError if more entries are to be kept than the vocabulary has."""
    if isinstance(config, TopKConfig) and config.k > vocabulary:
        raise ConfigError(
            f"signals.topk.k {config.k} is more than the vocabulary of {vocabulary} entries holds; "
            "lower it"
        )


class DistributionMaker:
    """Scores shards of the training pairs with the teacher, teacher-forced.

    Args:
        models: folders of the teacher: one, or the members of an ensemble.
        encoded: folder of the encoded corpus, in the teacher's vocabulary.
        hypotheses: folder of its translations; needed for View.HYPOTHESIS.
        view: the target sequence that the teacher reads.
        config: what is kept.
        device: where the teacher runs.
        by_perplexity: whether each member weighs by the inverse of its perplexity on the pair's
            reference, and not as much as every other.

    Raises:
        ConfigError: more entries are to be kept than the vocabulary has.
        DataError: a folder is not what it should be.
    """

    def __init__(
        self,
        *,
        models: tuple[Path, ...],
        encoded: Path,
        hypotheses: Path | None,
        view: View,
        config: StoredConfig,
        device: str,
        by_perplexity: bool = False,
    ) -> None:
        members = load_members(models, device=device)
        self.teacher = OnlineTeacher(members)
        self.vocabulary, self.positions = members[0].tgt_vocab, self.teacher.positions
        check_k(config, self.vocabulary)
        self.config, self.view = config, view
        self.weighted = by_perplexity and len(members) > 1
        train = EncodedSplit.load(encoded, Split.TRAIN)
        self.pair_ids, self.src, self.refs = train.pair_ids, train.src, train.ref
        self.targets = train.ref
        if view is View.HYPOTHESIS:
            assert hypotheses is not None, "the config was checked for this"
            hyps = Hypotheses.load(hypotheses)
            rows = np.flatnonzero(np.isin(train.pair_ids, hyps.pair_ids))
            self.pair_ids, self.targets = hyps.pair_ids, hyps.ids
            self.src, self.refs = train.src.take(rows), train.ref.take(rows)

    def __len__(self) -> int:
        return len(self.pair_ids)

    @torch.inference_mode()
    def __call__(self, start: int, stop: int, folder: Path) -> Mapping[str, Any]:
        """Score rows start to stop and write their arrays. -> counts.

        Pairs longer than the teacher's positions go to quarantine: counted, without a row.
        """
        began = time.perf_counter()
        rows = np.arange(start, stop)
        lengths = self.targets.lengths[rows]
        fits = np.maximum(self.src.lengths[rows], lengths) <= self.positions
        rows, lengths = rows[fits], lengths[fits]
        layout = Layout(folder, self.pair_ids[rows], offsets_of(lengths))
        writer = self._writer(layout, first=start == 0)
        order = np.lexsort((self.src.lengths[rows], lengths))
        if len(order):
            for part in np.split(order, cuts(lengths[order], most=TOKENS_PER_BATCH)):
                writer.put(self._read(rows[part], part))
        own = writer.finish()
        return {
            "pairs": len(rows),
            "tokens": layout.positions,
            "quarantined": int((~fits).sum()),
            **own,
            "bytes": bytes_in(folder),
            "seconds": time.perf_counter() - began,
        }

    def _writer(self, layout: Layout, *, first: bool) -> Writer:
        match self.config:
            case TopKConfig():
                return TopKWriter(layout, self.config, vocabulary=self.vocabulary)
            case SampledConfig():
                return SampledWriter(layout, self.config, vocabulary=self.vocabulary)
            case HiddenConfig():
                weights = [member.output_weight for member in self.teacher.models]
                return HiddenWriter(layout, weights, first=first, weighted=self.weighted)
            case _:
                assert_never(self.config)

    def _read(self, rows: Rows, of_shard: Rows) -> Read:
        """What the teacher says of some rows, which are rows `of_shard` of the layout."""
        teacher, target = read_pairs(self.teacher, self.src, self.targets, rows)
        if not self.weighted:
            return Read(of_shard, target.labels_N, teacher)
        if self.view is View.REFERENCE:
            weights = log_weights(teacher, target, sentences=len(rows))
        else:
            weights = weigh(self.teacher, self.src, self.refs, rows)
        teacher = replace(teacher, log_weights_NM=weights[target.sentence_N])
        return Read(of_shard, target.labels_N, teacher, weights)


def join_shards(plan: ShardPlan, wanted: int, folder: Path) -> dict[str, Any]:
    """Put the finished shards together in the order of their rows; any form. -> counts.

    Raises:
        StageFailed: the shards do not make up the `wanted` pairs, or there are none.
    """
    shards = [plan.path(i) for i in range(len(plan.ranges))]
    records = plan.counts()
    counts = sum_counts(records)
    held = [len(np.load(shard / "pair_ids.npy", mmap_mode="r")) for shard in shards]
    if not sum(held):
        raise StageFailed(
            f"{plan.folder}: none of the {wanted} pairs could be scored: there are none, or all "
            "are longer than the teacher's max_length; leave the long ones out of the corpus"
        )
    if held != [record["pairs"] for record in records]:
        raise StageFailed(
            f"{plan.folder}: the shards hold {sum(held)} scored pairs, and their records say "
            f"{counts['pairs']}; remove the folder and run again"
        )
    if counts["pairs"] + counts["quarantined"] != wanted:
        raise StageFailed(
            f"{plan.folder}: {counts['pairs']} scored pairs and {counts['quarantined']} in "
            f"quarantine do not make up the {wanted} that were to be scored; remove the folder and "
            "run again"
        )
    join_arrays(shards, folder)
    if "kept_mass" in counts:
        counts["kept_mass"] = round(counts["kept_mass"] / max(counts["tokens"], 1), 6)
    return counts | {"bytes": bytes_in(folder)}
