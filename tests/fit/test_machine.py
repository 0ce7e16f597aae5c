"""What the machine is asked before training."""

import platform
import resource
from pathlib import Path

import pytest
import torch

from kdray.fit import machine
from kdray.fit.machine import choose_precision, probe
from kdray.fit.worker import Worker


@pytest.fixture(autouse=True)
def as_before():
    """Leave the setting of the process as it was."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.slow
def test_products_in_float32_are_not_rounded():
    machine.prepare(threads=torch.get_num_threads())
    found = probe(torch.device("cpu"))
    assert found.fp32_error < machine.BF16_ERROR
    assert min(found.fp32_gflops, found.bf16_gflops) > 0


def test_a_machine_that_rounds_is_set_to_highest(monkeypatch):
    monkeypatch.setattr(machine, "_error", lambda a, b: 3e-3)
    machine.prepare(threads=torch.get_num_threads())
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_gpu_is_not_to_round_to_tf32():
    machine.prepare(threads=torch.get_num_threads(), device=torch.device("cuda"))
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("native", [True, False])
def test_auto_follows_the_hardware_and_nothing_else_does(monkeypatch, native):
    monkeypatch.setattr(machine, "has_bf16", lambda device: native)
    assert choose_precision("auto", Worker()) == ("bf16_autocast" if native else "fp32")
    assert choose_precision("bf16_master", Worker()) == "bf16_master"
    assert choose_precision("fp32", Worker()) == "fp32"


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others do not give it back")
def test_memory_of_what_is_gone_is_given_back():
    """Also where what is still there lies behind it, so that the heap does not shrink by itself."""
    blocks = [b"x" * 50_000 for _ in range(1000)]
    del blocks[:-1]
    before = resident()
    machine.give_memory_back(torch.device("cpu"))
    assert before - resident() > 40_000_000


@pytest.mark.slow
def test_a_probe_leaves_the_random_numbers_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    probe.cache_clear()
    probe(torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)
