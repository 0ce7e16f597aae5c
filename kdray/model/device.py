"""Moves tensors to the device where a model is."""

import torch
from torch import Tensor


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device.

    It is copied to a GPU from pinned memory: only such a copy runs while the CPU goes on and while
    the GPU computes what was launched before.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
