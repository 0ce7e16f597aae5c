"""A student and its method as one module, and the precision in which it is computed."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from kdray.config.training import Precision
from kdray.fit.worker import Worker
from kdray.methods.base import Batch, Loss, Method, Per
from kdray.model.transformer import Transformer

STUDENT, METHOD = "student.", "method."
"""What the names of an objective's tensors begin with."""


class Objective(nn.Module):
    """What DistributedDataParallel wraps. Parameters are float32 in every precision.

    `bf16_autocast` takes matrix products in bfloat16, and all between them in float32.
    `bf16_master` computes with bfloat16 copies of the student's weights, so that states between
    layers are bfloat16 too; the float32 weights are the masters that the optimiser moves.
    """

    def __init__(self, student: Transformer, method: Method[Any], precision: Precision) -> None:
        super().__init__()
        self.student = student
        self.method = method
        self.precision = precision

    def forward(self, batch: Batch, counts: Mapping[Per, int]) -> tuple[Tensor, Loss]:
        """The value to minimise: this worker's share of every sum over its global count."""
        with self.products():
            loss = self._loss(batch)
        value = torch.stack([total / counts[per] for per, total in loss.terms.items()]).sum()
        return value, loss

    def products(self) -> torch.autocast:
        """Where matrix products are taken in this precision."""
        device = self.student.output_weight.device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.precision != "fp32")

    def _loss(self, batch: Batch) -> Loss:
        """The method's loss, computed with the student's weights in this precision."""
        if self.precision != "bf16_master":
            return cast(Loss, self.method(self.student, batch))
        weights = self.student.named_parameters()
        copies = {STUDENT + name: weight.to(torch.bfloat16) for name, weight in weights}
        learner = _Learner(self.student, self.method)
        return cast(Loss, functional_call(learner, copies, (batch,), tie_weights=False))


class _Learner(nn.Module):
    """A method applied to its student, as one module.

    `functional_call` replaces a module's weights during its forward pass. A method calls `encode`
    and `decode` of the student too, and during this forward pass those use the replacements.
    """

    def __init__(self, student: Transformer, method: Method[Any]) -> None:
        super().__init__()
        self.student, self.method = student, method

    def forward(self, batch: Batch) -> Loss:
        return cast(Loss, self.method(self.student, batch))


def build_objective(
    student: Transformer, method: Method[Any], worker: Worker, *, precision: Precision = "fp32"
) -> Objective:
    """Move to the worker's device, ready to train."""
    return Objective(student, method, precision).to(worker.device).train()


def student_of(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The student's tensors among those of an objective, by its own names."""
    return _part(weights, STUDENT)


def method_of(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The method's tensors among those of an objective, by its own names."""
    return _part(weights, METHOD)


def _part(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): value for n, value in weights.items() if n.startswith(prefix)}
