"""A GPU finds what a CPU finds: every method, values and all gradients."""

import pytest
import torch
from toy_distillation import Trial

if not torch.cuda.is_available():
    pytest.skip("needs an NVIDIA GPU", allow_module_level=True)
CUDA = torch.device("cuda")


def test_values_and_gradients_are_those_of_a_cpu(trial: Trial) -> None:
    found = trial.on(CUDA).everything()
    assert found["value"].device.type == CUDA.type
    here = {name: value.cpu() for name, value in found.items()}
    torch.testing.assert_close(here, trial.everything(), rtol=1e-9, atol=1e-11)


def test_bfloat16_stays_near_float32(trial: Trial) -> None:
    there = trial.in_precision(torch.float32).on(CUDA)
    exact, rounded = (there.objective(precision=p) for p in ("fp32", "bf16_autocast"))
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.05)
