"""A tiny distillation task, to test the laws of all methods on."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from method_examples import parse
from torch import Tensor, nn
from torch.nn import functional as F
from toy_teacher import CPU, VOCAB, Exact, model, toy_teacher

from kdray.config.methods.union import SingleMethodConfig
from kdray.config.training import Precision
from kdray.fit.data import TrainingData
from kdray.fit.objective import Objective
from kdray.methods.base import Batch, Clock, Method, Per, Target
from kdray.methods.build import build_method
from kdray.methods.hybrid import Hybrid
from kdray.methods.sequences import build_target
from kdray.model.transformer import Transformer
from kdray.schema import Form, View
from kdray.teacher.own import OnlineModels
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import EOS

PAIRS = 6
MIDDLE = Clock(step=30, run_length=100, epoch=2)


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
    teacher: OnlineModels
    form: Form | None
    data: TrainingData
    written: Sequences | None
    device: torch.device = CPU

    @classmethod
    def of(
        cls,
        raw: Mapping[str, object],
        *,
        dtype: torch.dtype = torch.float64,
        student: Transformer | None = None,
        teacher: OnlineModels | None = None,
        written: Sequences | None = None,
        build: Callable[..., Method] = build_method,
        clock: Clock = MIDDLE,
    ) -> "Trial":
        config = parse(raw)
        form = Form(str(raw["signal"])) if "signal" in raw else None
        student = student or model(1, dtype=dtype)
        teacher = teacher or toy_teacher(dtype)
        torch.manual_seed(7)
        method = midway(build(config, student=student, teacher=teacher).to(dtype), clock)
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
        return other

    def on(self, device: torch.device) -> "Trial":
        """The same on another device, but for stored distributions, which are read from here."""
        teacher = OnlineModels([copy.deepcopy(m).to(device) for m in self.teacher.models])
        online = self.form is Form.ONLINE
        return replace(
            self,
            method=copy.deepcopy(self.method).to(device),
            student=copy.deepcopy(self.student).to(device),
            teacher=teacher,
            data=replace(self.data, teacher=teacher if online else None),
            device=device,
        )

    def batch(self, rows: Sequence[int] = range(PAIRS), *, precision: Precision = "fp32") -> Batch:
        """What the training loop would make of these pairs."""
        chosen = np.asarray(rows)
        batch = self.data.batch(chosen, device=self.device)
        if self.written is not None:
            made = build_target(self.written, chosen, device=self.device)
            batch = replace(batch, targets={**batch.targets, View.STUDENT: made})
        products = Objective(self.student, self.method, precision).products()
        with torch.no_grad(), products:
            return self.data.with_teacher(batch, chosen, self.method.needs)

    @cached_property
    def counts(self) -> dict[Per, int]:
        """Of all pairs."""
        own = {} if self.written is None else {Per.STUDENT: int(self.written.lengths.sum())}
        return {**self.data.counts(np.arange(PAIRS)), **own}

    def objective(self, batch: Batch | None = None, *, precision: Precision = "fp32") -> Tensor:
        """What the training loop minimises: each sum over its global count."""
        objective = Objective(self.student, self.method, precision)
        return objective(batch or self.batch(precision=precision), self.counts)[0]

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

    def everything(
        self, batch: Batch | None = None, *, precision: Precision = "fp32"
    ) -> dict[str, Tensor]:
        """The objective and all its gradients."""
        value = self.objective(batch, precision=precision)
        return {"value": value.detach(), **self.gradients(value)}


def random_sequences(rng: np.random.Generator) -> Sequences:
    lengths = rng.integers(1, 8, size=PAIRS)
    return Sequences.from_lists([[*rng.integers(4, VOCAB, size=n), EOS] for n in lengths])


def training_data(method: Method, form: Form | None, teacher: OnlineModels) -> TrainingData:
    """Some pairs of random ids, with the views and the form of distributions that are asked for."""
    rng = np.random.default_rng(3)
    src = random_sequences(rng)
    views = {View.REFERENCE: random_sequences(rng), View.HYPOTHESIS: random_sequences(rng)}
    stored = form not in (None, Form.ONLINE)
    return TrainingData(
        pair_ids=np.arange(PAIRS),
        src=src,
        views={view: views[view] for view in method.needs.views},
        distributions={
            view: Exact(form, teacher, src, views[view])
            for view in method.needs.distributions
            if stored
        },
        left_out={},
        teacher=teacher if form is Form.ONLINE else None,
    )


def midway(method: Method, clock: Clock) -> Method:
    """Gates differ by sentence, running means are set, queues are full, t has moved."""
    if isinstance(method, Hybrid):
        for parameter in method.gate.parameters():
            nn.init.normal_(parameter)
    method.begin(clock)
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
