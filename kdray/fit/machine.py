"""The machine that trains: its settings, and speed and precision of its matrix products."""

import ctypes
import gc
import platform
import time
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from kdray.config.training import Precision
from kdray.fit.worker import Worker

ENVIRONMENT = {
    # Large tensors are allocated and freed in every update. If their memory goes back to the kernel
    # each time, page faults on the next use make a small model's step on a CPU 1.5 to 2 times as
    # long.
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "68719476736",
    # Threads that spin while they wait take the cores from other processes.
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",
}
"""Environment variables of a training process, which are read once when it starts."""

PROBE_SIZE = 512  # of square matrices: a few milliseconds on one core
ROUNDS = 5
PROBE_SECONDS = 0.1  # after this no further round begins: emulated bfloat16 is slow
CPU = torch.device("cpu")
BF16_ERROR = 1e-4  # relative; products in float32 err by 1e-6, in bfloat16 by 3e-3


@dataclass(frozen=True, slots=True)
class Products:
    """Error and speed of matrix products on a device, with the settings of this process.

    fp32_error is relative to float64; fp32_gflops and bf16_gflops are 10^9 operations a second.
    """

    fp32_error: float
    fp32_gflops: float
    bf16_gflops: float


def prepare(*, threads: int, device: torch.device = CPU) -> None:
    """Set what can be set from inside the process, for work on a device."""
    torch.set_num_threads(threads)
    # With "medium", fp32 products use oneDNN, which is faster than MKL on many CPUs. But it also
    # permits bfloat16 inside a product, which some CPUs then use, so the error is measured. A GPU
    # would round to TF32.
    torch.set_float32_matmul_precision("medium")
    if device.type != CPU.type or _error(*_factors(CPU)) > BF16_ERROR:
        torch.set_float32_matmul_precision("highest")


def give_memory_back(device: torch.device) -> None:
    """Return the memory of what is not used any more, after a training, to the system.

    The allocator keeps it otherwise, by `ENVIRONMENT`: right within a training, and not for one
    process that trains large and small models.
    """
    gc.collect()  # modules and their hooks refer to one another
    _leave_out_what_stays()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:  # of GNU's libc
        trim(0)


def choose_precision(wanted: Precision | Literal["auto"], worker: Worker) -> Precision:
    """The wanted precision; for auto, bfloat16 if the hardware of all workers has it, else fp32."""
    if wanted != "auto":
        return wanted
    native = worker.total([torch.tensor(float(has_bf16(worker.device)))])[0]
    return "bf16_autocast" if native == worker.world_size else "fp32"


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies matrices in bfloat16, faster than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def device_name(device: torch.device) -> str:
    """What computes: the name of a GPU, or the architecture of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()})"


@cache
def _leave_out_what_stays() -> None:
    """Once in a process: later collections do not go through what libraries keep for ever."""
    gc.freeze()


@cache
def probe(device: torch.device) -> Products:
    """Measure matrix products, once in a process.

    It takes about 30 ms on one core that is idle, more if bfloat16 is emulated.
    """
    a, b = _factors(device)
    return Products(_error(a, b), _gflops(a, b), _gflops(a.bfloat16(), b.bfloat16()))


def _factors(device: torch.device) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)  # leaves the global one alone
    a, b = torch.randn(2, PROBE_SIZE, PROBE_SIZE, generator=random).to(device)
    return a, b


def _error(a: Tensor, b: Tensor) -> float:
    exact = a.double() @ b.double()
    return float(((a @ b).double() - exact).norm() / exact.norm())


def _gflops(a: Tensor, b: Tensor) -> float:
    if a.device.type == "cuda":
        a @ b  # the first product loads its kernel
        torch.cuda.synchronize()
    best, begun = float("inf"), time.perf_counter()
    for _ in range(ROUNDS):
        started = time.perf_counter()
        if started - begun > PROBE_SECONDS:
            break
        product = a @ b
        if product.device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * a.size(0) ** 3 / best / 1e9
