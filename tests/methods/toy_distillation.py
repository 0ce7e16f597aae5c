"""Every method, and a tiny distillation task to test their laws on.

Adding a method is one line in ALL_METHODS and one case in `dense_objective` of test_laws.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn import functional as F

from kdray.config import MethodConfig, ModelConfig
from kdray.fit.data import build_target
from kdray.methods.base import Batch, Method, Per, Target, packed_states
from kdray.methods.build import build_method
from kdray.methods.hybrid import Hybrid
from kdray.methods.kernel import SoftTargets
from kdray.model.transformer import Transformer
from kdray.schema import View
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import EOS, PAD

VOCAB, KEPT, PAIRS = 13, 5, 6
CPU = torch.device("cpu")
MODEL = ModelConfig(preset="nano", width=16, feedforward=32, dropout=0, max_length=32)

GATES = {
    "fixed": {"kind": "fixed", "value": 0.3},
    "prior": {"kind": "sentence", "stabiliser": "prior"},
    "centred": {"kind": "sentence", "stabiliser": "centred", "momentum": 0.9},
    "none": {"kind": "sentence", "stabiliser": "none"},
}
ALL_METHODS = {
    "cross_entropy": {"kind": "cross_entropy"},
    "token_level": {"kind": "token_level"},
    "token_level_only": {"kind": "token_level", "alpha": 1.0},
    "token_level_warm": {"kind": "token_level", "temperature": 2.0},
    "token_level_on_hypothesis": {"kind": "token_level", "prefix": "hypothesis"},
    "sentence_level": {"kind": "sentence_level"},
    "sentence_level_with_reference": {"kind": "sentence_level", "with_reference": True},
    "hybrid_warm": {"kind": "hybrid", "layout": "one_pass", "temperature": 2.0},
    **{
        f"hybrid_{layout}_{name}": {"kind": "hybrid", "layout": layout, "gate": gate}
        for layout in ("two_pass", "one_pass")
        for name, gate in GATES.items()
    },
}


def parse(raw: Mapping[str, object]) -> MethodConfig:
    return TypeAdapter(MethodConfig).validate_python(raw)


def build(raw: Mapping[str, object], *, dtype: torch.dtype = torch.float64) -> Method:
    """The method in the middle of a training: gates differ by sentence, running means are set."""
    torch.manual_seed(7)
    method = build_method(parse(raw), width=MODEL.width).to(dtype)
    if isinstance(method, Hybrid):
        for parameter in method.parameters():
            nn.init.normal_(parameter)
        method.after_update(
            {"loss/token": 0.7, "loss/sentence": 2.1, "gate/mean": 0.5, "gate/square": 0.3}
        )
    return method


def model(seed: int, *, dtype: torch.dtype = torch.float64) -> Transformer:
    torch.manual_seed(seed)
    return Transformer(MODEL, src_vocab=VOCAB, tgt_vocab=VOCAB, shared=True).to(dtype)


def soft_targets(logits_NV: Tensor, *, k: int, temperature: float = 1.0) -> SoftTargets:
    """The exact top k of softmax(logits / T), in the precision of the logits."""
    logp = (logits_NV / temperature).log_softmax(1)
    top, ids = logp.topk(k)
    return SoftTargets(ids, top, logp.scatter(1, ids, -torch.inf).logsumexp(1), temperature)


@dataclass(frozen=True)
class Task:
    """Some pairs of random ids and a teacher with random weights."""

    src: Sequences
    views: Mapping[View, Sequences]
    teacher: Transformer
    k: int = KEPT

    @classmethod
    def random(cls, *, dtype: torch.dtype = torch.float64, seed: int = 3) -> "Task":
        rng = np.random.default_rng(seed)

        def sentences() -> Sequences:
            lengths = rng.integers(1, 8, size=PAIRS)
            return Sequences.from_lists([[*rng.integers(4, VOCAB, size=n), EOS] for n in lengths])

        views = {View.REFERENCE: sentences(), View.HYPOTHESIS: sentences()}
        return cls(sentences(), views, model(seed + 1, dtype=dtype).eval())

    def batch(self, method: Method, rows: Sequence[int] = range(PAIRS)) -> Batch:
        """What the method reads of the given pairs."""
        chosen = np.asarray(rows)
        src = torch.from_numpy(self.src.padded(chosen, pad=PAD))
        targets = {v: build_target(self.views[v], chosen, device=CPU) for v in method.views}
        batch = Batch(src, src != PAD, targets)
        view = method.soft_view
        if view is None:
            return batch
        with torch.no_grad():
            memory = self.teacher.encode(batch.src_BS, batch.src_mask_BS)
            states = packed_states(self.teacher, batch, view, memory_BSD=memory)
            logits = states @ self.teacher.output_weight.T
        soft = soft_targets(logits, k=self.k, temperature=method.temperature)
        return replace(batch, targets={**targets, view: replace(targets[view], soft=soft)})

    def counts(self, rows: Sequence[int] = range(PAIRS)) -> dict[Per, int]:
        tokens = {
            Per.token_of(view): int(ids.lengths[np.asarray(rows)].sum())
            for view, ids in self.views.items()
        }
        return {**tokens, Per.SENTENCE: len(rows)}


def objective(
    method: Method, student: Transformer, batch: Batch, counts: Mapping[Per, int]
) -> Tensor:
    """What the training loop minimises: each sum over its global count."""
    terms = method(student, batch).terms
    return torch.stack([total / counts[per] for per, total in terms.items()]).sum()


def gradients(value: Tensor, *modules: nn.Module) -> dict[str, Tensor]:
    """By parameter of all modules; zero where the value does not depend on one."""
    named = {f"{i}.{n}": p for i, m in enumerate(modules) for n, p in m.named_parameters()}
    found = torch.autograd.grad(value, list(named.values()), allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if grad is None else grad
        for (name, parameter), grad in zip(named.items(), found, strict=True)
    }


def padded_further(batch: Batch, *, src: int, tgt: int) -> Batch:
    """The same batch with more columns of padding, which hold arbitrary ids."""

    def wider(target: Target) -> Target:
        inputs_BT = F.pad(target.inputs_BT, (0, tgt), value=5)
        return replace(
            target, inputs_BT=inputs_BT, positions_N=target.positions_N + tgt * target.sentence_N
        )

    return Batch(
        src_BS=F.pad(batch.src_BS, (0, src), value=6),
        src_mask_BS=F.pad(batch.src_mask_BS, (0, src), value=False),
        targets={view: wider(target) for view, target in batch.targets.items()},
    )
