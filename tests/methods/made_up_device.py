"""Nothing that a method computes with stays behind on the CPU.

Where there is no GPU, a device that is made up takes its place: its tensors have shapes and no
numbers, and meet no tensor of another device. Methods whose shapes depend on numbers are left out.
`test_made_up_device.py` runs this in a process of its own: torch must know a device before its
first backward pass.
"""

import copy
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from autograd_method import BY_AUTOGRAD, build_by_autograd
from method_examples import ALL_METHODS, TYPICAL
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
from toy_distillation import PAIRS, Trial

from kdray.fit import data
from kdray.methods import kernel_losses, sequences, targets
from kdray.methods.targets import TeacherTargets
from kdray.schema import Form, View
from kdray.teacher.own import OnlineModels

DEPEND_ON_NUMBERS = ("selective", "taid", "divergence_adaptive")
_setup_privateuseone_for_python_backend(rename="elsewhere")
DEVICE = torch.device("elsewhere", 0)
AUTOGRAD = "autograd "
NAMES = [
    *(name for name in TYPICAL if not name.startswith(DEPEND_ON_NUMBERS)),
    *(AUTOGRAD + name for name in BY_AUTOGRAD),
]


@dataclass(frozen=True)
class Elsewhere:
    """The device, and the way there."""

    device: torch.device
    mode: FakeTensorMode

    def moved(self, tensor: Tensor, device: torch.device) -> Tensor:
        """As `kdray.model.device.moved`."""
        here = tensor
        if not isinstance(tensor, FakeTensor):
            here = self.mode.from_tensor(tensor, static_shapes=True)
        with self.mode:
            return here.to(device)

    def module(self, module: Any) -> Any:
        """A copy of it, there."""
        module = copy.deepcopy(module)
        for part in module.modules():
            for name, value in part._parameters.items():
                if value is not None:
                    there = self.moved(value.detach(), self.device)
                    part._parameters[name] = nn.Parameter(there, value.requires_grad)
            for name, value in part._buffers.items():
                if value is not None:
                    part._buffers[name] = self.moved(value, self.device)
        return module


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """Branches that look at numbers are taken as they mostly are; precision is that of the CPU."""
    place = Elsewhere(DEVICE, FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv()))
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *args: False)
    monkeypatch.setattr(kernel_losses, "_log_norm", lambda z, entry_z, entry_q: entry_z - entry_q)
    monkeypatch.setattr(kernel_losses, "_floored_sum", lambda q, ids: q.sum(1))
    for module in (data, sequences, targets):
        monkeypatch.setattr(module, "moved", place.moved)
    return place


@dataclass(frozen=True)
class Stored:
    """What was read on the CPU before."""

    read: TeacherTargets

    def targets(self, rows: np.ndarray, *, temperature: float) -> TeacherTargets:
        return self.read


def stored_distributions(trial: Trial) -> dict[View, Stored]:
    """Of all pairs, without the way in which the toy teacher made them."""
    temperature = trial.method.needs.temperature
    with torch.no_grad():
        return {
            view: Stored(found.targets(np.arange(PAIRS), temperature=temperature))
            for view, found in trial.data.distributions.items()
        }


def on(place: Elsewhere, trial: Trial, stored: dict[View, Stored]) -> Trial:
    """The trial with all its weights there."""
    teacher = OnlineModels([place.module(model) for model in trial.teacher.models])
    online = teacher if trial.form is Form.ONLINE else None
    return replace(
        trial,
        method=place.module(trial.method),
        student=place.module(trial.student),
        teacher=teacher,
        data=replace(trial.data, distributions=stored, teacher=online),
        device=place.device,
    )


@pytest.fixture(params=NAMES, scope="module")
def here(request: pytest.FixtureRequest) -> tuple[Trial, dict[View, Stored]]:
    """A trial on the CPU, and the distributions that it reads."""
    built = {} if request.param in ALL_METHODS else {"build": build_by_autograd}
    trial = Trial.of(ALL_METHODS[request.param.removeprefix(AUTOGRAD)], **built)
    return trial, stored_distributions(trial)


def test_value_and_gradients_are_there(
    here: tuple[Trial, dict[View, Stored]], elsewhere: Elsewhere
) -> None:
    there = on(elsewhere, *here)
    with elsewhere.mode:
        found = there.everything()
    assert {value.device for value in found.values()} == {elsewhere.device}


def test_what_stays_behind_is_found(
    here: tuple[Trial, dict[View, Stored]], elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the test above does not pass because nothing is looked at."""
    cpu = torch.device("cpu")
    monkeypatch.setattr(sequences, "moved", lambda tensor, _: elsewhere.moved(tensor, cpu))
    there = on(elsewhere, *here)
    with elsewhere.mode, pytest.raises(RuntimeError, match="device"):
        there.everything()
