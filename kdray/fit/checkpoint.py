"""Checkpoints: folders that are whole or do not exist, and the history that belongs to them.

A checkpoint is written aside, its `state.json` with the checksums of the other files last, and
then renamed. A damaged one is passed over for the one before it.
"""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kdray.artifacts import sha256_file, write_json
from kdray.errors import ArtifactDamaged
from kdray.model.storage import load_weights, tensors

logger = logging.getLogger(__name__)

WEIGHTS, OPTIMIZER, STATE, HISTORY = (
    "weights.safetensors",
    "optimizer.pt",
    "state.json",
    "history.jsonl",
)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training run stands after an update."""

    step: int = 0
    target_tokens: int = 0  # of all views, over all workers
    train_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints of one training run."""

    folder: Path
    keep: int

    def save(self, module: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
        """Write a checkpoint, then remove those that are no longer needed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f".{progress.step:08d}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        values = {name: value.detach().cpu() for name, value in tensors(module).items()}
        save_file(values, aside / WEIGHTS)
        torch.save(optimizer.state_dict(), aside / OPTIMIZER)
        checksums = {name: sha256_file(aside / name) for name in (WEIGHTS, OPTIMIZER)}
        write_json(aside / STATE, {"progress": asdict(progress), "sha256": checksums})
        final = self.folder / f"{progress.step:08d}"
        shutil.rmtree(final, ignore_errors=True)  # only a damaged one can be there
        aside.rename(final)
        for old in self.paths()[: -self.keep]:
            shutil.rmtree(old)

    def restore(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
        """Load the newest whole checkpoint in place; without one, nothing changes."""
        for path in reversed(self.paths()):
            state = whole_state(path)
            if state is None:
                logger.warning("%s: damaged checkpoint, using the one before it", path)
                continue
            load_weights(module, path / WEIGHTS)
            optimizer.load_state_dict(torch.load(path / OPTIMIZER, weights_only=True))
            return Progress(**state["progress"])
        return Progress()

    def paths(self) -> list[Path]:
        """Folders of all checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("[0-9]*") if path.is_dir())

    def average(self, *, last: int) -> dict[str, Tensor]:
        """Mean of each tensor over the last checkpoints, summed in float64.

        Raises:
            ArtifactDamaged: one of them is not what was written.
        """
        paths = self.paths()[-last:]
        for path in paths:
            if whole_state(path) is None:
                raise ArtifactDamaged(
                    f"{path}: damaged checkpoint, so the mean of the last {len(paths)} cannot be "
                    f"taken; remove {self.folder} and run again"
                )
        stored = [load_file(path / WEIGHTS) for path in paths]
        return {
            name: (sum(each[name].double() for each in stored) / len(stored)).to(value.dtype)
            for name, value in stored[-1].items()
        }


def whole_state(path: Path) -> dict[str, Any] | None:
    """A checkpoint's state, or None if any of its files is not what was written."""
    try:
        state: dict[str, Any] = json.loads((path / STATE).read_text(encoding="utf-8"))
        whole = all(sha256_file(path / name) == sha for name, sha in state["sha256"].items())
    except (OSError, ValueError, KeyError):
        return None
    return state if whole else None


def newest_progress(folder: Path) -> Progress:
    """Where a run stands by its newest whole checkpoint."""
    for path in reversed(Checkpoints(folder, keep=1).paths()):
        state = whole_state(path)
        if state is not None:
            return Progress(**state["progress"])
    return Progress()


class History:
    """Metrics over steps: one JSON object a line, each with `step` and `time`.

    Opening it drops rows of updates that a resumed run will make again.
    """

    def __init__(self, path: Path, *, step: int) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [row for row in read_history(path) if row["step"] <= step]
        aside = path.with_suffix(".aside")
        aside.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        aside.replace(path)

    def append(self, row: Mapping[str, float]) -> None:
        """Add a row."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(row)) + "\n")


def read_history(path: Path) -> Sequence[dict[str, float]]:
    """All whole rows; a line that a kill cut short is not one."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows
