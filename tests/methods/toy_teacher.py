"""Tiny models, and what a tiny teacher says of stored sequences, without rounding."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kdray.config.model import ModelConfig
from kdray.methods.sequences import build_target
from kdray.methods.targets import SoftTargets, TeacherTargets
from kdray.model.transformer import Transformer
from kdray.schema import Form
from kdray.teacher.own import OnlineModels
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import PAD

VOCAB, KEPT, DRAWS = 13, 5, 20
CPU = torch.device("cpu")
STUDENT = ModelConfig(preset="nano", width=16, feedforward=32, dropout=0, max_length=32)
TEACHER = ModelConfig(
    preset="nano", width=12, feedforward=24, encoder_layers=2, decoder_layers=2, dropout=0,
    max_length=32,
)  # fmt: skip


def model(
    seed: int, config: ModelConfig = STUDENT, *, dtype: torch.dtype = torch.float64
) -> Transformer:
    return copy.deepcopy(_initialised(seed, config)).to(dtype)


@cache
def _initialised(seed: int, config: ModelConfig) -> Transformer:
    torch.manual_seed(seed)
    return Transformer(config, src_vocab=VOCAB, tgt_vocab=VOCAB, shared=True)


@cache
def toy_teacher(dtype: torch.dtype) -> OnlineModels:
    return OnlineModels([model(2, TEACHER, dtype=dtype)])


def soft_targets(
    logits_NV: Tensor, *, k: int, temperature: float = 1.0, labels_N: Tensor | None = None
) -> SoftTargets:
    """The exact top k of softmax(logits / T), in the precision of the logits."""
    logp = (logits_NV / temperature).log_softmax(1)
    top, ids = logp.topk(k)
    tail = logp.scatter(1, ids, -torch.inf).logsumexp(1)
    label = None if labels_N is None else logp.gather(1, labels_N[:, None]).squeeze(1)
    return SoftTargets(ids, top, tail, temperature, label)


def drawn_targets(p_NV: Tensor, *, draws: int, generator: torch.Generator) -> SoftTargets:
    """Shares of draws with replacement, padded with entries of no share."""
    drawn = torch.multinomial(p_NV, draws, replacement=True, generator=generator)
    counts = torch.zeros_like(p_NV).scatter_add_(1, drawn, torch.ones_like(drawn, dtype=p_NV.dtype))
    widest = int((counts > 0).sum(1).max())
    share, ids = (counts / draws).topk(widest)
    return SoftTargets(ids, share.log(), p_NV.new_full((len(p_NV),), -torch.inf))


@dataclass(frozen=True)
class Exact:
    """What a teacher says of stored sequences, in one of the stored forms, without rounding."""

    form: Form
    teacher: OnlineModels
    src: Sequences
    ids: Sequences

    def targets(self, rows: np.ndarray, *, temperature: float) -> TeacherTargets:
        src = torch.from_numpy(self.src.padded(rows, pad=PAD))
        target = build_target(self.ids, rows, device=CPU)
        dense = self.teacher.read(
            src, src != PAD, target.inputs_BT, target.positions_N, temperature=temperature
        )
        if self.form is Form.HIDDEN:
            return dense
        logits = dense.logits()
        if self.form is Form.TOPK:
            return soft_targets(logits, k=KEPT, temperature=temperature, labels_N=target.labels_N)
        assert temperature == 1, "draws are made at temperature 1"
        rows_of = [
            drawn_targets(p, draws=DRAWS, generator=torch.Generator().manual_seed(int(row)))
            for row, p in zip(rows, logits.softmax(1).split(self.ids.lengths[rows].tolist()),
                              strict=True)
        ]  # fmt: skip
        return side_by_side(rows_of)


def side_by_side(parts: Sequence[SoftTargets]) -> SoftTargets:
    """Draws of several rows, each filled to the widest with ids that it does not have."""
    ids, logp = [], []
    widest = max(part.ids_NK.size(1) for part in parts)
    for part in parts:
        missing = torch.ones(len(part.ids_NK), VOCAB).scatter_(1, part.ids_NK, 0.0)
        more = widest - part.ids_NK.size(1)
        ids.append(torch.cat((part.ids_NK, missing.topk(more).indices), 1))
        logp.append(F.pad(part.logp_NK, (0, more), value=-torch.inf))
    return SoftTargets(
        torch.cat(ids), torch.cat(logp), torch.cat([part.log_tail_N for part in parts])
    )
