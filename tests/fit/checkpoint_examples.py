"""A module of one layer with checkpoints, and disks that are full or slow."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from kdray.fit import checkpoint
from kdray.model.storage import tensors


class Small(nn.Module):
    """A layer, and a buffer that starts as NaN, as that of a centred gate does."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("mean", torch.tensor(torch.nan))


def new_pair(seed: int) -> tuple[Small, torch.optim.AdamW]:
    torch.manual_seed(seed)
    module = Small()
    return module, torch.optim.AdamW(module.parameters(), lr=0.1, fused=True)


def update(module: Small, optimizer: torch.optim.Optimizer, number: int) -> None:
    torch.manual_seed(number)
    optimizer.zero_grad()
    module.layer(torch.randn(4, 3)).square().sum().backward()
    optimizer.step()
    module.mean.fill_(number)


def values(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in tensors(module).items()}


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def restore(
    checkpoints: checkpoint.Checkpoints, module: nn.Module, optimizer: torch.optim.Optimizer
) -> checkpoint.Progress:
    """Load the newest whole checkpoint in place; without one, nothing changes."""
    path = checkpoints.newest()
    return checkpoint.Progress() if path is None else checkpoints.load(path, module, optimizer)


@contextmanager
def slow_writes(seconds: float) -> Iterator[None]:
    plain = checkpoint.save_file

    def slowly(*args: object) -> None:
        time.sleep(seconds)
        plain(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save_file", slowly)
        yield
