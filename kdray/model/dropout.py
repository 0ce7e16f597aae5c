"""Dropout that is cheap on a CPU: one random byte for each element instead of one Bernoulli draw.

The probability is rounded to 1/256 and the scale is exact for the rounded value, so the
expectation is kept. The bytes come from a generator seeded by torch's own, so that
`torch.manual_seed` alone decides every mask.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dropout(nn.Module):
    """Like `torch.nn.Dropout`: zeroes with probability p (rounded to 1/256) while training."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.dropped = min(round(p * 256), 255)  # of 256 byte values

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements of x and scale up the others while training. -> the shape of x."""
        if not self.training or self.dropped == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.dropped / 256)
        return x * self._mask(x)

    def _mask(self, x: Tensor) -> Tensor:
        seed = int(torch.randint(2**62, ()).item())
        words = np.random.SFC64(seed).random_raw((x.numel() + 7) // 8)
        random_bytes = torch.from_numpy(words.view(np.uint8))[: x.numel()]
        kept = (random_bytes >= self.dropped).view(x.shape)
        return kept.to(x.dtype).mul_(256 / (256 - self.dropped))
