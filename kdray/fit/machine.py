"""Settings of the machine that training wants, and those that must precede the interpreter."""

import torch

ENVIRONMENT = {
    # Large tensors are allocated and freed every update. Given back to the kernel each time, they
    # cost page faults on the next use: 1.5 to 2 times of a small model's step on a CPU.
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "68719476736",
    # Threads that spin while they wait starve each other where cores are shared.
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",
}
"""Environment of a training process, read once when it starts."""


def prepare(*, threads: int) -> None:
    """Set what can be set from inside the process."""
    torch.set_num_threads(threads)
    # Lets fp32 products use oneDNN, which is faster than MKL on many CPUs.
    torch.set_float32_matmul_precision("medium")
