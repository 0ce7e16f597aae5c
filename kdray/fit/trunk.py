"""Trunks: runs that end at the constant rate, and the runs that go on from there.

A trunk is stored as it lies in the folder of its run: checkpoints and history. A run by the same
method begins with a copy of them, as if it had been stopped there itself, so it ends as the run
that was trained alone: a resumed run equals an undisturbed one. A run by another method takes the
student and its moments, and its method as it begins.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from kdray.config import TrainingConfig
from kdray.errors import ArtifactDamaged
from kdray.fit.checkpoint import (
    HISTORY,
    OPTIMIZER,
    WEIGHTS,
    Checkpoints,
    Progress,
    newest_progress,
    whole_state,
)
from kdray.fit.objective import Objective
from kdray.fit.update import new_optimizer
from kdray.model.storage import tensors

CHECKPOINTS, STUDENT = "checkpoints", "student."


@dataclass(frozen=True, slots=True)
class Trunk:
    """A published trunk. `same_method`: the run that goes on from it learns by its method."""

    folder: Path
    until: int
    same_method: bool = True

    def student(self, student: nn.Module) -> None:
        """Load the student as it is where the trunk ends."""
        stored = load_file(self._last() / WEIGHTS)
        for name, value in tensors(student).items():
            value.data.copy_(stored[STUDENT + name])

    def begin(self, folder: Path, objective: Objective, training: TrainingConfig) -> None:
        """Let the run in a folder go on from here, if it is not further already.

        Raises:
            ArtifactDamaged: the trunk's last checkpoint is not what was written.
        """
        if newest_progress(folder / CHECKPOINTS).step >= self.until:
            return
        progress = Progress(**self._state()["progress"])
        _copy(self.folder / HISTORY, folder / HISTORY)
        if self.same_method:
            for path in sorted((self.folder / CHECKPOINTS).iterdir()):
                _copy(path, folder / CHECKPOINTS / path.name)
            return
        optimizer = new_optimizer(objective, training)
        stored = torch.load(self._last() / OPTIMIZER, weights_only=True)["state"]
        own = optimizer.state_dict()
        optimizer.load_state_dict({**own, "state": _moments_of_student(objective, stored)})
        Checkpoints(folder / CHECKPOINTS, keep=1).save(objective, optimizer, progress)

    def _last(self) -> Path:
        return self.folder / CHECKPOINTS / f"{self.until:08d}"

    def _state(self) -> dict[str, Any]:
        state = whole_state(self._last())
        if state is None:
            raise ArtifactDamaged(
                f"{self._last()}: damaged checkpoint of a trunk; remove {self.folder} and run again"
            )
        return state


def store_trunk(run: Path, folder: Path) -> None:
    """Copy what others need of a run that ended: its checkpoints and its history."""
    for path in Checkpoints(run / CHECKPOINTS, keep=1).paths():
        _copy(path, folder / CHECKPOINTS / path.name)
    _copy(run / HISTORY, folder / HISTORY)


def _moments_of_student(objective: Objective, stored: Mapping[int, Any]) -> dict[int, Any]:
    """The optimiser numbers parameters in their order, and an objective's student comes first."""
    names = [name for name, p in objective.named_parameters() if p.requires_grad]
    return {number: stored[number] for number, name in enumerate(names) if name.startswith(STUDENT)}


def _copy(source: Path, target: Path) -> None:
    """Copy a file or folder: whole, or not at all."""
    aside = target.with_name(f".{target.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        for old in (aside, target):  # of an attempt that was killed, or damaged since
            shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(source, aside)
    else:
        shutil.copyfile(source, aside)
    aside.replace(target)
