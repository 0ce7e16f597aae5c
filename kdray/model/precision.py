"""The precision of matrix products, and of what is summed from them.

The rest of the model and the methods ask here, so that one `torch.autocast` around them decides.
"""

import torch
from torch import Tensor


def product_dtype(weight: Tensor) -> torch.dtype:
    """Of matrix products with a weight: what autocast says, or else the weight's own."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def exact(dtype: torch.dtype) -> torch.dtype:
    """Of sums of numbers of a dtype: float32 for the half-precision ones."""
    return torch.float32 if dtype.itemsize < torch.float32.itemsize else dtype


def widened(values: Tensor) -> Tensor:
    """The values in the dtype that they are summed in; the same tensor where that is its own."""
    return values.to(exact(values.dtype))


def no_rounding(device: torch.device) -> torch.autocast:
    """Products in the dtype of their factors, whatever autocast says outside."""
    return torch.autocast(device.type, enabled=False)
