"""A student and its method as one module, and the precision in which it is computed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.stateless import _reparametrize_module

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
        with self.products(), self._weights():
            loss: Loss = self.method(self.student, batch)
        value = torch.stack([total / counts[per] for per, total in loss.terms.items()]).sum()
        return value, loss

    def products(self) -> torch.autocast:
        """Where matrix products are taken in this precision."""
        device = self.student.output_weight.device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.precision != "fp32")

    @contextmanager
    def _weights(self) -> Iterator[None]:
        """Where the student computes with the weights of this precision."""
        if self.precision != "bf16_master":
            yield
            return
        copies = {name: p.to(torch.bfloat16) for name, p in self.student.named_parameters()}
        # functional_call would do this for forward() only; methods also call encode and decode.
        with _reparametrize_module(self.student, copies):
            yield


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
