"""Checkpoints: folders that are whole or do not exist.

A checkpoint is copied while updates wait, and written while they go on, its `state.json` with the
checksums of the other files last. A damaged one is passed over for the one before it.
"""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kdray.artifacts import differences, sha256_file, write_json
from kdray.errors import ArtifactDamaged, DataError, StageFailed
from kdray.fit.early_stopping import Selection
from kdray.model.storage import WEIGHTS, load_weights, tensors
from kdray.storage.disk import room
from kdray.storage.whole import whole

logger = logging.getLogger(__name__)

MEANS, OPTIMIZER, STATE = "means.safetensors", "optimizer.pt", "state.json"  # beside WEIGHTS


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training run stands after an update."""

    step: int = 0
    target_tokens: int = 0  # of all views, over all workers
    train_seconds: float = 0.0
    selection: Selection = field(default_factory=Selection)  # the first worker's

    @classmethod
    def load(cls, state: Mapping[str, Any]) -> Self:
        """From what a checkpoint's state holds."""
        return cls(**{**state, "selection": Selection(**state["selection"])})

    def is_over(self, updates: int) -> bool:
        """Whether a run of so many updates ends here."""
        return self.step >= updates or self.selection.stopped


class Checkpoints:
    """The checkpoints of one training run. At most one is being written.

    Args:
        folder: where they are.
        keep: how many of the newest are kept; the best that they know of are kept beside them.
        identity: JSON values that a checkpoint must have been written with to be gone on from.
        on_whole: called in the writer's thread when a checkpoint is whole and old ones are removed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep: int = 2,
        identity: Mapping[str, Any] | None = None,
        on_whole: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder, self.keep, self.identity = folder, keep, identity or {}
        self._on_whole = on_whole
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[int] | None = None

    def save(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        progress: Progress,
        means: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Copy the state, and begin to write it; one that is being written is waited for.

        Raises:
            StageFailed: the one before could not be written.
        """
        self.wait()
        files = {WEIGHTS: tensors(module), MEANS: means or {}, OPTIMIZER: optimizer.state_dict()}
        self._writing = self._writer.submit(self._write, progress, _copied(files))

    def written(self) -> int | None:
        """The update whose checkpoint has become whole since this was asked last, if one has.

        Raises:
            StageFailed: it could not be written.
        """
        return self.wait() if self._writing is not None and self._writing.done() else None

    def wait(self) -> int | None:
        """As `written`, once nothing is being written any more."""
        writing, self._writing = self._writing, None
        return None if writing is None else writing.result()

    def newest(self) -> Path | None:
        """The newest whole checkpoint."""
        for path in reversed(self.paths()):
            if whole_state(path) is not None:
                return path
            logger.warning("%s: damaged checkpoint, using the one before it", path)
        return None

    def load(self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
        """Load a whole checkpoint in place.

        Raises:
            DataError: it is of another model, or of another vocabulary.
        """
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        repair = f"remove {self.folder} to train from the start, or name another storage"
        changed = differences(state["identity"], self.identity)
        if changed:
            raise DataError(f"{path}: of another run, {'; '.join(changed)}; {repair}")
        try:
            load_weights(module, path / WEIGHTS)
            optimizer.load_state_dict(
                torch.load(path / OPTIMIZER, weights_only=True, map_location="cpu")
            )
        except ValueError as error:
            raise DataError(f"{path / OPTIMIZER}: of another model: {error}; {repair}") from None
        except DataError as error:
            raise DataError(f"{error}; {repair}") from None
        return Progress.load(state["progress"])

    def path(self, step: int) -> Path:
        """Where the checkpoint of an update is, or will be."""
        return self.folder / f"{step:08d}"

    def paths(self) -> list[Path]:
        """Folders of all checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("[0-9]*") if path.is_dir())

    def weights(self, path: Path) -> dict[str, Tensor]:
        """Weights and remembered values of a checkpoint.

        Raises:
            ArtifactDamaged: it is missing, or not what was written.
        """
        check_whole(path)
        weights: dict[str, Tensor] = load_file(path / WEIGHTS)
        return weights

    def means(self, path: Path) -> dict[str, Tensor]:
        """The running means of a checkpoint; empty where none has begun."""
        return load_file(path / MEANS) if (path / MEANS).exists() else {}

    def average(self, *, last: int) -> dict[str, Tensor]:
        """Mean of each tensor over the last checkpoints, summed in float64.

        Raises:
            ArtifactDamaged: one of them is not what was written.
        """
        stored = [self.weights(path) for path in self.paths()[-last:]]
        return {
            name: torch.stack([each[name].double() for each in stored]).mean(0).to(value.dtype)
            for name, value in stored[-1].items()
        }

    def _write(self, progress: Progress, files: Mapping[str, Any]) -> int:
        """The writer's whole work, on a copy of what belongs into each file. -> the update."""
        step = progress.step
        try:
            for left in self.folder.glob(".[0-9]*"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            shutil.rmtree(self.path(step), ignore_errors=True)  # only a damaged one can be there
            with whole(self.path(step), record=STATE) as folder:
                save_file(files[WEIGHTS], folder / WEIGHTS)
                if files[MEANS]:
                    save_file(files[MEANS], folder / MEANS)
                torch.save(files[OPTIMIZER], folder / OPTIMIZER)
                checksums = {path.name: sha256_file(path) for path in folder.iterdir()}
                state = {"progress": asdict(progress), "identity": self.identity}
                write_json(folder / STATE, {**state, "sha256": checksums})
        except (OSError, RuntimeError, SafetensorError) as error:  # torch.save raises the second
            self._fail(step, error)
        for old in self._not_kept():
            shutil.rmtree(old)
        self._on_whole()
        return step

    def _not_kept(self) -> list[Path]:
        """Checkpoints that nobody needs. What a kept one calls the best is needed."""
        paths = self.paths()
        newest = paths[-self.keep :]
        states = [state for path in newest if (state := _state(path))]
        best = [self.path(state["progress"]["selection"]["step"]) for state in states]
        return [path for path in paths if path not in (*newest, *best)]

    def _fail(self, step: int, error: Exception) -> NoReturn:
        kept = [int(path.name) for path in self.paths()]
        newest = f"that of update {kept[-1]} is untouched" if kept else "there is none before it"
        raise StageFailed(
            f"{self.path(step)}: the checkpoint of update {step} could not be written ({error})"
            f"{room(self.folder)}; {newest}; make room, or make the folder writable, and run the "
            "same command again"
        ) from error


def whole_state(path: Path) -> dict[str, Any] | None:
    """A checkpoint's state, or None if any of its files is not what was written."""
    try:
        state = _state(path)
        whole = state is not None and all(
            sha256_file(path / name) == sha for name, sha in state["sha256"].items()
        )
    except OSError:
        return None
    return state if whole else None


def check_whole(path: Path) -> dict[str, Any]:
    """A checkpoint's state.

    Raises:
        ArtifactDamaged: it is missing, or not what was written.
    """
    state = whole_state(path)
    if state is None:
        raise ArtifactDamaged(
            f"{path}: missing or damaged checkpoint, so the model cannot be made; remove "
            f"{path.parent.parent} and run again"
        )
    return state


def newest_progress(folder: Path) -> Progress:
    """Where a run stands by its newest whole checkpoint."""
    states = (whole_state(path) for path in reversed(Checkpoints(folder).paths()))
    newest = next(filter(None, states), None)
    return Progress() if newest is None else Progress.load(newest["progress"])


def _state(path: Path) -> dict[str, Any] | None:
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    members = {"progress", "identity", "sha256"}
    return state if isinstance(state, dict) and members <= state.keys() else None


def _copied(value: Any) -> Any:  # noqa: ANN401 (nested as an optimiser's state is)
    """Everything in it in memory of its own, tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True).contiguous()
    if isinstance(value, Mapping):
        return {name: _copied(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(inner) for inner in value)
    return value
