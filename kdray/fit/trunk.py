"""Trunks: runs that end at the constant rate, and the runs that go on from there.

A trunk is stored as it lies in the folder of its run: checkpoints and history. A run by the same
method begins with a copy of them, as if it had been stopped there itself, so it ends as the run
that was trained alone: a resumed run equals an undisturbed one. A run by another method begins
with checkpoints of its own, whose students, their moments and means are the trunk's, with its
method as it begins.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from kdray.fit.checkpoint import (
    MEANS,
    OPTIMIZER,
    STATE,
    Checkpoints,
    Progress,
    check_whole,
    newest_progress,
)
from kdray.fit.history import HISTORY
from kdray.fit.objective import STUDENT, Objective, student_of
from kdray.fit.record import Run
from kdray.fit.update import new_optimizer
from kdray.model.storage import WEIGHTS, set_tensors
from kdray.storage.whole import whole

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, slots=True)
class Trunk:
    """A published trunk. `same_method`: the run that goes on from it learns by its method."""

    folder: Path
    until: int
    same_method: bool = True

    def student(self, student: nn.Module) -> None:
        """Load the student as it is where the trunk ends."""
        set_tensors(student, student_of(load_file(self._last() / WEIGHTS)))

    def begin(self, objective: Objective, run: Run) -> None:
        """Let a run go on from here, if it is not further already.

        Raises:
            ArtifactDamaged: a checkpoint of the trunk is not what was written.
        """
        if newest_progress(run.folder / CHECKPOINTS).step >= self.until:
            return
        check_whole(self._last())
        with whole(run.folder / HISTORY) as history:
            shutil.copyfile(self.folder / HISTORY, history)
        paths = Checkpoints(self.folder / CHECKPOINTS).paths()
        if not self.same_method:
            _adopt(paths, objective, run)
            return
        for path in paths:
            place = run.folder / CHECKPOINTS / path.name
            shutil.rmtree(place, ignore_errors=True)  # it may be damaged
            with whole(place, record=STATE) as copy:
                shutil.copytree(path, copy, dirs_exist_ok=True)

    def _last(self) -> Path:
        return self.folder / CHECKPOINTS / f"{self.until:08d}"


def store_trunk(run: Path, folder: Path) -> None:
    """Copy what others need of a run that ended: its checkpoints and its history."""
    for path in Checkpoints(run / CHECKPOINTS).paths():
        shutil.copytree(path, folder / CHECKPOINTS / path.name)
    shutil.copyfile(run / HISTORY, folder / HISTORY)


def _adopt(paths: Sequence[Path], objective: Objective, run: Run) -> None:
    """Write a trunk's checkpoints anew, as those of a run by another method."""
    optimizer = new_optimizer(objective, run.config)
    fresh = optimizer.state_dict()
    checkpoints = Checkpoints(run.folder / CHECKPOINTS, keep=len(paths), identity=run.identity)
    for path in paths:
        progress = Progress.load(check_whole(path)["progress"])
        set_tensors(objective.student, student_of(load_file(path / WEIGHTS)))
        stored = torch.load(path / OPTIMIZER, weights_only=True, map_location="cpu")["state"]
        optimizer.load_state_dict({**fresh, "state": _moments_of_student(objective, stored)})
        checkpoints.save(objective, optimizer, progress, _means(objective, path))
    checkpoints.wait()


def _moments_of_student(objective: Objective, stored: Mapping[int, Any]) -> dict[int, Any]:
    """The optimiser numbers parameters in their order, and an objective's student comes first."""
    names = [name for name, p in objective.named_parameters() if p.requires_grad]
    return {number: stored[number] for number, name in enumerate(names) if name.startswith(STUDENT)}


def _means(objective: Objective, path: Path) -> dict[str, Tensor]:
    """The trunk's running mean of the student, if it has one; that of the method begins here."""
    if not (path / MEANS).exists():
        return {}
    stored = load_file(path / MEANS)
    return {
        name: stored[name] if name.startswith(STUDENT) else value.detach()
        for name, value in objective.named_parameters()
    }
