"""One training process among several: its rank, its device, and sums over all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True, slots=True)
class Worker:
    """A process of a training run. If there are several, the process group must be running."""

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
            stacked = stacked.to(self.device)
            distributed.all_reduce(stacked)
        return [float(value) for value in stacked.tolist()]

    def gather(self, samples: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Join each 1-D tensor over all workers, in the order of their ranks."""
        if self.world_size == 1 or not samples:
            return samples
        own = {name: values.detach().cpu() for name, values in samples.items()}
        all_samples: list[dict[str, Tensor]] = [{} for _ in range(self.world_size)]
        distributed.all_gather_object(all_samples, own)
        return {name: torch.cat([each[name] for each in all_samples]) for name in own}

    def sum_(self, values: Tensor) -> None:
        """Sum a tensor over all workers, in place."""
        if self.world_size > 1:
            distributed.all_reduce(values)

    def barrier(self) -> None:
        """Wait until all workers are here."""
        self.total([torch.zeros(())])  # `distributed.barrier` would choose a GPU by the rank
