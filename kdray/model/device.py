"""Tensors on their way to the device where a model is."""

import torch
from torch import Tensor


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device.

    To a GPU it goes by way of pinned memory: only from there does the copy run beside the kernels
    that were launched before, while the host goes on.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
