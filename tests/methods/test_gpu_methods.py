"""A GPU finds what a CPU finds: every method, values and all gradients."""

import math

import pytest
import torch
from method_examples import ALL_METHODS, TYPICAL
from toy_distillation import Trial

from kdray.config.training import Precision

if not torch.cuda.is_available():
    pytest.skip("needs an NVIDIA GPU", allow_module_level=True)
CUDA = torch.device("cuda")


def test_values_and_gradients_are_those_of_a_cpu(trial: Trial) -> None:
    found = trial.on(CUDA).everything()
    assert found["value"].device.type == CUDA.type
    here = {name: value.cpu() for name, value in found.items()}
    torch.testing.assert_close(here, trial.everything(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("precision", ["bf16_autocast", "bf16_master"])
@pytest.mark.parametrize("name", TYPICAL)
def test_bfloat16_stays_near_float32(precision: Precision, name: str) -> None:
    """As on a CPU: 3 % of the value, and a gradient within 15 degrees."""
    there = Trial.of(ALL_METHODS[name], dtype=torch.float32).on(CUDA)
    found, exact = there.everything(precision=precision), there.everything()
    assert math.isclose(found["value"], exact["value"], rel_tol=0.03)
    ours, theirs = (
        torch.cat([g.float().flatten() for n, g in each.items() if n.startswith("student.")])
        for each in (found, exact)
    )
    assert torch.cosine_similarity(ours, theirs, 0) > math.cos(math.radians(15))
