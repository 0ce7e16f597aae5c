"""How fast does this machine multiply matrices? No training on it can be faster than that."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from kdray.config.model import ModelConfig

LARGE = (2048, 2048, 2048)
SECONDS = 0.5  # for each shape and precision

Shape = tuple[int, int, int]  # [m, k] times [k, n]


def layer_shapes(model: ModelConfig, *, positions: int, vocabulary: int) -> list[Shape]:
    """Shapes of the products in a layer and in the output, over all positions of an update."""
    width, inner = model.width, model.feedforward
    sizes = [(width, 3 * width), (width, width), (width, inner), (inner, width)]
    return [(positions, k, n) for k, n in [*sizes, (width, vocabulary)]]


def gflops(shapes: Sequence[Shape], precision: str) -> float:
    """GFLOP/s of all shapes together, each at its fastest, with the threads of this process."""
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    work = sum(2 * m * k * n for m, k, n in shapes)
    return work / sum(_seconds(shape, dtype) for shape in shapes) / 1e9


def _seconds(shape: Shape, dtype: torch.dtype) -> float:
    """Seconds of the fastest product. Its output exists before, so no page fault is counted."""
    m, k, n = shape
    left, right = torch.randn(m, k).to(dtype), torch.randn(k, n).to(dtype)
    out = torch.empty(m, n, dtype=dtype)
    best = _once(left, right, out)
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        best = min(best, _once(left, right, out))
    return best


def _once(left: Tensor, right: Tensor, out: Tensor) -> float:
    started = time.perf_counter()
    torch.mm(left, right, out=out)
    return time.perf_counter() - started
