"""The precision of matrix products, and of sums over their results.

The rest of the model and the methods ask here, so that one `torch.autocast` around them decides.
"""

import torch
from torch import Tensor


def product_dtype(weight: Tensor) -> torch.dtype:
    """The dtype of matrix products with a weight: that of autocast, or else the weight's own."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def exact(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which numbers of a dtype are summed: float32 for the half-precision ones."""
    return torch.float32 if dtype.itemsize < torch.float32.itemsize else dtype


def widened(values: Tensor) -> Tensor:
    """The values in the dtype in which they are summed; the tensor itself if it has that dtype."""
    return values.to(exact(values.dtype))


def no_rounding(device: torch.device) -> torch.autocast:
    """A context in which products have the dtype of their factors, even inside an autocast."""
    return torch.autocast(device.type, enabled=False)
