"""Teacher distributions: the teacher reads a target sequence, and what it says is kept."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdray.artifacts import Fetch, Key, keys_among
from kdray.config.signals import HiddenConfig, SampledConfig, TopKConfig
from kdray.errors import ConfigError, StageFailed
from kdray.jobs import Counts
from kdray.methods.online import OnlineTeacher
from kdray.model.memory import padded_cuts, tokens_per_batch
from kdray.schema import Form, Split, View
from kdray.teacher.engine import Teacher
from kdray.teacher.ensemble import TIMES, log_weights, read_pairs, weigh
from kdray.teacher.hidden import write_hidden
from kdray.teacher.hypotheses import Hypotheses, sum_counts
from kdray.teacher.sampled import write_sampled
from kdray.teacher.stored import Layout, Read, bytes_in, join_arrays
from kdray.teacher.topk import write_topk
from kdray.text.batching import Rows
from kdray.text.encoded import EncodedSplit
from kdray.text.pairing import check_pairs, join
from kdray.text.pieces import check_pieces
from kdray.text.sequences import Sequences, offsets_of

VERSION = 3

StoredConfig = TopKConfig | SampledConfig | HiddenConfig
FORMS = {TopKConfig: Form.TOPK, SampledConfig: Form.SAMPLED, HiddenConfig: Form.HIDDEN}


def check_k(config: StoredConfig, vocabulary: int) -> None:
    """Raise ConfigError if more entries are to be kept than the vocabulary has."""
    if isinstance(config, TopKConfig) and config.k > vocabulary:
        raise ConfigError(
            f"signals.topk.k {config.k} is more than the vocabulary of {vocabulary} entries holds; "
            "lower it"
        )


def write(
    layout: Layout,
    reads: Iterable[Read],
    config: StoredConfig,
    weights_VD: Sequence[Tensor],
    *,
    first: bool = True,
    weighted: bool = False,
) -> Counts:
    """Keep what the teacher says, in the form that is configured; see `write_hidden`. -> counts."""
    match config:
        case TopKConfig():
            return write_topk(layout, reads, config, vocabulary=len(weights_VD[0]))
        case SampledConfig():
            return write_sampled(layout, reads, config, vocabulary=len(weights_VD[0]))
        case HiddenConfig():
            return write_hidden(layout, reads, weights_VD, first=first, weighted=weighted)


@dataclass(frozen=True, slots=True)
class DistributionJob:
    """Keep what the teacher says of training pairs, teacher-forced. Sharded; see `kdray.jobs`.

    It reads the references of `encoded`, or the translations in `hypotheses` if there are some;
    `encoded` is in the teacher's vocabulary. `config` says what is kept.
    """

    on_gpu: ClassVar[bool] = True

    teacher: Teacher
    encoded: Key
    hypotheses: Key | None
    config: StoredConfig

    @property
    def key(self) -> Key:
        """Of the teacher, the sequences that it reads, and what is kept."""
        hyps = self.hypotheses
        recipe = self.config.model_dump(mode="json", exclude={"on"}) | {
            "form": str(FORMS[type(self.config)]),
            "on": str(View.HYPOTHESIS if hyps else View.REFERENCE),
        }
        inputs = {**self.teacher.identity, "encoded": self.encoded.fingerprint}
        inputs |= {"hypotheses": hyps.fingerprint} if hyps else {}
        return Key("distributions", VERSION, recipe, inputs)

    @property
    def reads(self) -> tuple[Key, ...]:
        """The ids, the teacher, and the translations if it reads those."""
        return keys_among(self.encoded, *self.teacher.sources, self.hypotheses)

    def prepare(self, work: Path, fetch: Fetch, *, device: str) -> int:
        """Nothing is shared. -> the number of pairs to be read."""
        return self._num_pairs(fetch)

    def builder(self, work: Path, fetch: Fetch, *, device: str) -> "DistributionMaker":
        """What reads some pairs.

        Raises:
            ConfigError: more entries are to be kept than the vocabulary has.
            DataError: a folder is not what it should be, or its ids are not of the teacher's
                pieces.
        """
        teacher = self.teacher.reader(fetch, device=device)
        assert teacher is not None, "the config was checked for this"
        check_k(self.config, teacher.output_weights[0].size(0))
        pieces = self.teacher.tokenizer_checksum(fetch)
        train = EncodedSplit.load(fetch(self.encoded), Split.TRAIN)
        check_pieces(train.pieces, pieces, what=fetch(self.encoded), of="the teacher")
        if self.hypotheses is None:
            train = train.with_references()
        pairs = (train.pair_ids, train.src_hashes, train.src, train.ref, train.ref)
        if self.hypotheses is not None:
            folder = fetch(self.hypotheses)
            hyps = Hypotheses.load(folder)
            check_pieces(hyps.pieces, pieces, what=folder, of="the teacher")
            rows = join(hyps.pair_ids, train.pair_ids, what="the encoded corpus")
            hashes = train.src_hashes[rows]
            check_pairs(hyps.src_hashes, hashes, hyps.pair_ids, what=str(folder))
            src, ref = train.src.take(rows), train.ref.take(rows)
            pairs = (hyps.pair_ids, hashes, src, ref, hyps.ids)
        return DistributionMaker(teacher, *pairs, self.config, weighted=self.teacher.by_perplexity)

    def join(
        self, shards: Sequence[Path], counts: Sequence[Counts], folder: Path, fetch: Fetch
    ) -> Counts:
        """Put the finished shards together in the order of their rows; any form. -> counts.

        Raises:
            StageFailed: the shards do not make up all pairs, or there are none.
        """
        wanted, total = self._num_pairs(fetch), sum_counts(counts)
        held = [len(np.load(shard / "pair_ids.npy", mmap_mode="r")) for shard in shards]
        if not sum(held):
            raise StageFailed(
                f"distributions: none of the {wanted} pairs could be scored: there are none, or "
                "all are longer than the teacher's max_length; leave the long ones out of the "
                "corpus"
            )
        recorded = [of_shard["pairs"] for of_shard in counts]
        if held != recorded or sum(held) + total["quarantined"] != wanted:
            raise StageFailed(
                f"{shards[0].parent}: the shards hold {sum(held)} scored pairs, their records say "
                f"{total['pairs']}, and with {total['quarantined']} in quarantine they must make "
                f"up the {wanted} that were to be scored; remove the folder and run again"
            )
        join_arrays(shards, folder)
        if "kept_mass" in total:
            total["kept_mass"] = round(total["kept_mass"] / max(total["tokens"], 1), 6)
        return total | {"bytes": bytes_in(folder)}

    def _num_pairs(self, fetch: Fetch) -> int:
        if self.hypotheses is None:
            return len(EncodedSplit.load(fetch(self.encoded), Split.TRAIN).with_references())
        return len(Hypotheses.load(fetch(self.hypotheses)).pair_ids)


@dataclass(frozen=True, slots=True)
class DistributionMaker:
    """Reads shards of pairs.

    targets: what is read; the references themselves, or a translation of each source. weighted:
    whether the teacher's members weigh anew for each pair.
    """

    teacher: OnlineTeacher
    pair_ids: NDArray[np.int64]
    src_hashes: NDArray[np.int64]
    src: Sequences
    refs: Sequences
    targets: Sequences
    config: StoredConfig
    weighted: bool

    @torch.inference_mode()
    def __call__(self, start: int, stop: int, folder: Path) -> Counts:
        """Score rows start to stop and write their arrays. -> counts.

        Pairs longer than the teacher's positions go to quarantine: counted, without a row.
        """
        began = time.perf_counter()
        rows = np.arange(start, stop)
        lengths = self.targets.lengths[rows]
        fits = np.maximum(self.src.lengths[rows], lengths) <= self.teacher.positions
        rows, lengths = rows[fits], lengths[fits]
        layout = Layout(folder, self.pair_ids[rows], offsets_of(lengths))
        layout.prove(self.src_hashes[rows], self.targets.take(rows))
        longest = np.maximum(self.src.lengths[rows], lengths)
        order = np.lexsort((lengths, longest))
        parts = np.split(order, padded_cuts(longest[order], most=TIMES * tokens_per_batch()))
        own = write(
            layout,
            (self._read(rows[part], part) for part in parts if len(part)),
            self.config,
            self.teacher.output_weights,
            first=start == 0,
            weighted=self.weighted,
        )
        return {
            "pairs": len(rows),
            "tokens": layout.positions,
            "quarantined": int((~fits).sum()),
            **own,
            "bytes": bytes_in(folder),
            "seconds": time.perf_counter() - began,
        }

    def _read(self, rows: Rows, of_shard: Rows) -> Read:
        """What the teacher says of some rows, which are rows `of_shard` of the layout."""
        teacher, target = read_pairs(self.teacher, self.src, self.targets, rows)
        if not self.weighted:
            return Read(of_shard, target.labels_N, teacher)
        if self.targets is self.refs:
            weights = log_weights(teacher, target, sentences=len(rows))
        else:
            weights = weigh(self.teacher, self.src, self.refs, rows)
        teacher = replace(teacher, log_weights_NM=weights[target.sentence_N])
        return Read(of_shard, target.labels_N, teacher, weights)
