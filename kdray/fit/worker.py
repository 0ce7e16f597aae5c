"""One training process among several: its rank, its device, and sums over all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True, slots=True)
class Worker:
    """A process of a training run. The process group is somebody else's to start."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (it is immutable)

    @property
    def is_first(self) -> bool:
        """Whether this worker writes checkpoints and history."""
        return self.rank == 0

    def total(self, values: Sequence[Tensor]) -> list[float]:
        """Sum each scalar over all workers."""
        stacked = torch.stack([value.detach().double() for value in values])
        if self.world_size > 1:
            if self.device.type != "cpu":
                stacked = stacked.to(self.device)
            distributed.all_reduce(stacked)
        return [float(value) for value in stacked.tolist()]

    def barrier(self) -> None:
        """Wait for all workers."""
        if self.world_size > 1:
            distributed.barrier()
