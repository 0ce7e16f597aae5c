"""Every method, and a tiny distillation task to test their laws on.

Adding a method is one entry in ALL_METHODS here and one case in dense_formulas.py.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn import functional as F

from kdray.config import ModelConfig, SingleMethodConfig
from kdray.fit.data import TrainingData
from kdray.methods.base import Batch, Clock, Method, Per, Target
from kdray.methods.build import build_method
from kdray.methods.hybrid import Hybrid
from kdray.methods.online import OnlineTeacher
from kdray.methods.sequences import build_target
from kdray.methods.targets import SoftTargets, TeacherTargets
from kdray.model.transformer import Transformer
from kdray.schema import Form, View
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import EOS, PAD

VOCAB, KEPT, DRAWS, PAIRS = 13, 5, 20, 6
CPU = torch.device("cpu")
MIDDLE = Clock(step=30, updates=100, epoch=2)
STUDENT = ModelConfig(preset="nano", width=16, feedforward=32, dropout=0, max_length=32)
TEACHER = ModelConfig(
    preset="nano", width=12, feedforward=24, encoder_layers=2, decoder_layers=2, dropout=0,
    max_length=32,
)  # fmt: skip
TOPK, SAMPLED, HIDDEN, ONLINE = Form.TOPK, Form.SAMPLED, Form.HIDDEN, Form.ONLINE

STABILISERS = {
    "none": {"kind": "none"},
    "prior": {"kind": "prior", "strength": 0.3},
    "centred": {"kind": "centred", "momentum": 0.9},
    "bilevel": {"kind": "bilevel"},
}
GATES = {
    "fixed": {"kind": "fixed", "value": 0.3},
    "line": {"kind": "schedule", "start": 0.9, "end": 0.2},
    "cosine": {"kind": "schedule", "shape": "cosine"},
    **{
        f"{kind}_{name}": {"kind": kind, "initial": 0.4, "stabiliser": stabiliser}
        for kind in ("scalar", "sentence", "token")
        for name, stabiliser in STABILISERS.items()
    },
    "entropy": {"kind": "entropy", "threshold": 0.7},
    "entropy_soft": {"kind": "entropy", "threshold": 0.7, "width": 0.1, "high": "sentence"},
    "entropy_token": {"kind": "entropy", "threshold": 0.7, "width": 0.2, "per": "token"},
    "confidence": {"kind": "confidence"},
    "confidence_token": {"kind": "confidence", "per": "token"},
}


def for_each_token(gate: Mapping[str, object]) -> bool:
    """Such a gate needs both losses on one sequence."""
    return gate["kind"] == "token" or gate.get("per") == "token"


WITHOUT_DISTRIBUTIONS = {
    "cross_entropy": {"kind": "cross_entropy"},
    "sentence_level": {"kind": "sentence_level"},
    "sentence_level_with_reference": {
        "kind": "sentence_level", "with_reference": True, "label_smoothing": 0.1,
    },
    "interpolation": {"kind": "interpolation"},
    "multi_hypothesis": {"kind": "multi_hypothesis"},
}  # fmt: skip
HYBRIDS = {
    f"hybrid_{layout}_{name}": {"kind": "hybrid", "layout": layout, "gate": gate}
    for layout in ("two_pass", "one_pass")
    for name, gate in GATES.items()
    if layout == "one_pass" or not for_each_token(gate)
}
WITH_DISTRIBUTIONS: dict[str, tuple[Mapping[str, object], Sequence[Form]]] = {
    "token_level": ({"kind": "token_level"}, (TOPK, SAMPLED, HIDDEN, ONLINE)),
    "token_level_only": ({"kind": "token_level", "alpha": 1.0}, (TOPK,)),
    "token_level_warm": ({"kind": "token_level", "temperature": 2.0}, (TOPK, HIDDEN)),
    "token_level_on_hypothesis": ({"kind": "token_level", "prefix": "hypothesis"}, (TOPK,)),
    **{name: (raw, (TOPK,)) for name, raw in HYBRIDS.items()},
    "hybrid_default": ({"kind": "hybrid"}, (SAMPLED, HIDDEN, ONLINE)),
    "hybrid_warm": (
        {"kind": "hybrid", "layout": "one_pass", "temperature": 2.0,
         "gate": GATES["sentence_prior"]},
        (TOPK, HIDDEN),
    ),
    "hybrid_warm_centred": (
        {"kind": "hybrid", "temperature": 2.0, "gate": GATES["sentence_centred"]},
        (HIDDEN,),
    ),
    "hybrid_entropy": ({"kind": "hybrid", "gate": GATES["entropy_soft"]}, (HIDDEN,)),
    "hybrid_confidence": ({"kind": "hybrid", "gate": GATES["confidence"]}, (HIDDEN,)),
    "hard_gate_token": ({"kind": "hard_gate", "label_smoothing": 0.1}, (TOPK, HIDDEN, ONLINE)),
    "hard_gate_sentence": ({"kind": "hard_gate", "per": "sentence"}, (TOPK, HIDDEN)),
    "selective_batch": ({"kind": "selective", "scope": "batch"}, (TOPK,)),
    "selective_global": (
        {"kind": "selective", "scope": "global", "queue": 30}, (TOPK, SAMPLED, HIDDEN, ONLINE),
    ),
    "tie": ({"kind": "tie"}, (ONLINE,)),
    "annealing": ({"kind": "annealing"}, (HIDDEN, ONLINE)),
    **{
        f"divergence_{name}": ({"kind": "divergence", "divergence": name, **numbers}, forms)
        for name, numbers, forms in (
            ("forward", {"alpha": 0.6}, (TOPK, HIDDEN)),
            ("reverse", {}, (TOPK, HIDDEN)),
            ("jensen_shannon", {"beta": 0.2, "alpha": 0.7}, (TOPK, HIDDEN, ONLINE)),
            ("total_variation", {}, (TOPK, HIDDEN)),
            ("skew", {"prefix": "hypothesis"}, (TOPK, HIDDEN)),
            ("skew_reverse", {}, (TOPK, HIDDEN)),
            ("adaptive", {}, (TOPK, HIDDEN)),
        )
    },
    "taid": ({"kind": "taid", "rate": 0.1, "momentum": 0.5}, (HIDDEN, ONLINE)),
    "imitation_distribution": ({"kind": "imitation"}, (ONLINE,)),
    "imitation_argmax": ({"kind": "imitation", "target": "argmax"}, (ONLINE,)),
    "on_policy": ({"kind": "on_policy", "student_share": 0.3, "beta": 0.8}, (ONLINE,)),
    "on_policy_forward": ({"kind": "on_policy", "divergence": "forward"}, (ONLINE,)),
    "on_policy_reverse": ({"kind": "on_policy", "divergence": "reverse"}, (ONLINE,)),
    "feature": ({"kind": "feature", "hidden_weight": 0.5, "attention_weight": 2.0}, (ONLINE,)),
}  # fmt: skip
ALL_METHODS: dict[str, Mapping[str, object]] = {
    **WITHOUT_DISTRIBUTIONS,
    **{
        f"{name}-{form}": {**raw, "signal": str(form)}
        for name, (raw, forms) in WITH_DISTRIBUTIONS.items()
        for form in forms
    },
}

TYPICAL = [
    "cross_entropy", "sentence_level_with_reference", "interpolation", "multi_hypothesis",
    "token_level-topk", "token_level-hidden", "token_level_warm-topk", "token_level_warm-hidden",
    "hybrid_two_pass_scalar_prior-topk", "hybrid_two_pass_sentence_centred-topk",
    "hybrid_one_pass_token_none-topk", "hybrid_one_pass_entropy_soft-topk",
    "hybrid_one_pass_confidence_token-topk", "hybrid_warm-hidden",
    "hybrid_warm_centred-hidden",
    "hard_gate_token-hidden", "hard_gate_sentence-topk", "selective_batch-topk",
    "selective_global-hidden", "tie-online", "annealing-hidden", "taid-hidden",
    *(f"divergence_{name}-topk" for name in (
        "reverse", "jensen_shannon", "total_variation", "skew", "skew_reverse", "adaptive",
    )),
    "imitation_distribution-online", "imitation_argmax-online", "on_policy-online",
    "feature-online",
]  # fmt: skip
"""For laws that take long: each method, and each gate with one of its stabilisers."""


def parse(raw: Mapping[str, object]) -> SingleMethodConfig:
    return TypeAdapter(SingleMethodConfig).validate_python(raw)


def model(
    seed: int, config: ModelConfig = STUDENT, *, dtype: torch.dtype = torch.float64
) -> Transformer:
    return copy.deepcopy(_initialised(seed, config)).to(dtype)


@cache
def _initialised(seed: int, config: ModelConfig) -> Transformer:
    torch.manual_seed(seed)
    return Transformer(config, src_vocab=VOCAB, tgt_vocab=VOCAB, shared=True)


@cache
def _teacher(dtype: torch.dtype) -> OnlineTeacher:
    return OnlineTeacher([model(2, TEACHER, dtype=dtype)])


def random_sequences(rng: np.random.Generator) -> Sequences:
    lengths = rng.integers(1, 8, size=PAIRS)
    return Sequences.from_lists([[*rng.integers(4, VOCAB, size=n), EOS] for n in lengths])


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
    teacher: OnlineTeacher
    src: Sequences
    ids: Sequences

    def targets(self, rows: np.ndarray, *, temperature: float) -> TeacherTargets:
        src = torch.from_numpy(self.src.padded(rows, pad=PAD))
        target = build_target(self.ids, rows, device=CPU)
        dense = self.teacher.read(
            src, src != PAD, target.inputs_BT, target.positions_N, temperature=temperature
        )
        if self.form is HIDDEN:
            return dense
        logits = dense.logits()
        if self.form is TOPK:
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


@dataclass(frozen=True)
class Trial:
    """A method in the middle of a training, its student and teacher, and what it learns from.

    Each sequence that the student makes is made once, so that parts of a batch can be compared
    with the whole of it.
    """

    raw: Mapping[str, object]
    config: SingleMethodConfig
    method: Method
    student: Transformer
    teacher: OnlineTeacher
    form: Form | None
    data: TrainingData
    written: Sequences | None

    @classmethod
    def of(
        cls,
        raw: Mapping[str, object],
        *,
        dtype: torch.dtype = torch.float64,
        student: Transformer | None = None,
        teacher: OnlineTeacher | None = None,
        written: Sequences | None = None,
    ) -> "Trial":
        config = parse(raw)
        form = Form(str(raw["signal"])) if "signal" in raw else None
        student = student or model(1, dtype=dtype)
        teacher = teacher or _teacher(dtype)
        torch.manual_seed(7)
        method = midway(build_method(config, student=student, teacher=teacher).to(dtype))
        data = training_data(method, form, teacher)
        if written is None:
            torch.manual_seed(8)
            whole = data.batch(np.arange(PAIRS), device=CPU)
            with torch.no_grad():
                made = method.prepare(student, whole).targets.get(View.STUDENT)
            written = made and sequences_of(made)
        return cls(raw, config, method, student, teacher, form, data, written)

    def in_precision(self, dtype: torch.dtype) -> "Trial":
        """The same weights and sequences, rounded."""
        other = Trial.of(self.raw, dtype=dtype, written=self.written)
        for name in ("student", "method"):
            getattr(other, name).load_state_dict(getattr(self, name).state_dict())
        if dtype.itemsize < 4 and not list(other.method.parameters()):
            other.method.float()  # its buffers remember numbers of the training
        return other

    def batch(self, rows: Sequence[int] = range(PAIRS)) -> Batch:
        """What the training loop would make of these pairs."""
        chosen = np.asarray(rows)
        batch = self.data.batch(chosen, device=CPU)
        if self.written is not None:
            made = build_target(self.written, chosen, device=CPU)
            batch = replace(batch, targets={**batch.targets, View.STUDENT: made})
        with torch.no_grad():
            return self.data.with_teacher(batch, chosen, self.method)

    @cached_property
    def counts(self) -> dict[Per, int]:
        """Of all pairs."""
        own = {} if self.written is None else {Per.STUDENT: int(self.written.lengths.sum())}
        return {**self.data.counts(np.arange(PAIRS)), **own}

    def objective(self, batch: Batch | None = None) -> Tensor:
        """What the training loop minimises: each sum over its global count."""
        terms = self.method(self.student, batch or self.batch()).terms
        return torch.stack([total / self.counts[per] for per, total in terms.items()]).sum()

    def gradients(self, value: Tensor) -> dict[str, Tensor]:
        """By parameter of student and method; zero where the value does not depend on one."""
        modules = {"student": self.student, "method": self.method}
        named = {
            f"{name}.{n}": p
            for name, module in modules.items()
            for n, p in module.named_parameters()
            if p.requires_grad
        }
        found = torch.autograd.grad(value, list(named.values()), allow_unused=True)
        return {
            name: torch.zeros_like(parameter) if grad is None else grad
            for (name, parameter), grad in zip(named.items(), found, strict=True)
        }

    def everything(self, batch: Batch | None = None) -> dict[str, Tensor]:
        """The objective and all its gradients."""
        value = self.objective(batch)
        return {"value": value.detach(), **self.gradients(value)}


def training_data(method: Method, form: Form | None, teacher: OnlineTeacher) -> TrainingData:
    """Some pairs of random ids, with the views and the form of distributions that are asked for."""
    rng = np.random.default_rng(3)
    src = random_sequences(rng)
    views = {View.REFERENCE: random_sequences(rng), View.HYPOTHESIS: random_sequences(rng)}
    stored = form not in (None, ONLINE)
    return TrainingData(
        pair_ids=np.arange(PAIRS),
        src=src,
        views={view: views[view] for view in method.views},
        distributions={
            view: Exact(form, teacher, src, views[view]) for view in method.reads if stored
        },
        left_out={},
        teacher=teacher if form is ONLINE else None,
    )


def midway(method: Method) -> Method:
    """Gates differ by sentence, running means are set, queues are full, t has moved."""
    if isinstance(method, Hybrid):
        for parameter in method.gate.parameters():
            nn.init.normal_(parameter)
    method.begin(MIDDLE)
    for loss in (1.6, 1.2):
        averages = {"loss/token": 0.7, "loss/sentence": 2.1, "loss/interpolated": loss}
        samples = {
            "nll": torch.linspace(1.0, 4.5, 40),
            "gate": torch.tensor([0.5]),
            "source_length": torch.tensor([3.0]),
        }
        method.after_update(averages, samples)
    return method


def sequences_of(target: Target) -> Sequences:
    """The token ids that a target was made from."""
    counts = target.sentence_N.bincount().tolist()
    return Sequences.from_lists([part.tolist() for part in target.labels_N.split(counts)])


def padded_further(batch: Batch, *, src: int, tgt: int) -> Batch:
    """The same batch with more columns of padding, which hold arbitrary ids."""

    def wider(target: Target) -> Target:
        return replace(
            target,
            inputs_BT=F.pad(target.inputs_BT, (0, tgt), value=5),
            positions_N=target.positions_N + tgt * target.sentence_N,
        )

    return replace(
        batch,
        src_BS=F.pad(batch.src_BS, (0, src), value=6),
        src_mask_BS=F.pad(batch.src_mask_BS, (0, src), value=False),
        targets={view: wider(target) for view, target in batch.targets.items()},
    )
