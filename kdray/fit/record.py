"""What the first worker records of a run: its history, validations and checkpoints.

A row of the history is final once a checkpoint of its update, or of a later one, is complete; only
then `on_checkpoint` announces it. So a row that a tracker was sent is never computed again.
"""

import copy
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch

from kdray.config.training import TrainingConfig
from kdray.errors import StageFailed
from kdray.fit.averaging import averaged, running_mean
from kdray.fit.checkpoint import Checkpoints, Progress
from kdray.fit.data import TrainingData
from kdray.fit.history import HISTORY, History, read_history
from kdray.fit.objective import Objective, student_of
from kdray.model.storage import set_tensors
from kdray.model.transformer import Transformer

logger = logging.getLogger(__name__)

DEV, AVERAGED = "dev/", "dev/averaged/"

Validate = Callable[[Transformer], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Run:
    """The settings of one training run.

    Attributes:
        config: length, batches, optimiser.
        seed: of initialisation, order and dropout.
        folder: holds checkpoints and history; if it has some, the run continues them.
        validate: gives dev metrics of the student; only the first worker calls it.
        dev: dev pairs, for a gate that learns from them.
        until: the update at which a trunk ends, before its last; None: the run goes to its last.
        first_step: updates of the stages before this one, which the steps in the history include.
        tokens_per_pass: target tokens that a worker learns at once; None: its whole share.
        identity: JSON values that distinguish this run's checkpoints from those of other models.
        keep: called in the thread that writes checkpoints when one is whole, which counts as
            written once this has returned.
        on_checkpoint: called by the first worker after each checkpoint and at the end, with the
            step up to which the rows of the history are final.
    """

    config: TrainingConfig
    seed: int
    folder: Path
    validate: Validate
    dev: TrainingData | None = None
    until: int | None = None
    first_step: int = 0
    tokens_per_pass: int | None = None
    identity: Mapping[str, Any] | None = None
    keep: Callable[[], None] = lambda: None
    on_checkpoint: Callable[[int], None] = lambda step: None

    @property
    def goal(self) -> int:
        """The update at which it ends, unless it is stopped before."""
        return self.until or self.config.updates

    def has_checkpoint(self, step: int) -> bool:
        """Whether a checkpoint is written after an update."""
        return step % self.config.checkpoint_every == 0 or step == self.goal

    def has_validation(self, step: int) -> bool:
        """Whether the student is validated after an update; the end of a trunk is none of them."""
        return step % self.config.validate_every == 0 or step == self.config.updates


class Recorder:
    """Writes history and checkpoints of a run: a context manager around its updates.

    On an error, it still waits for the checkpoint that is being written.

    Raises:
        DataError: the checkpoint that the run goes on from is of a run with other averaging.
    """

    def __init__(
        self,
        run: Run,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        checkpoints: Checkpoints,
        progress: Progress,
    ) -> None:
        self.run, self.objective, self.optimizer = run, objective, optimizer
        self.checkpoints, self.mean = checkpoints, running_mean(run.config, objective)
        if self.mean is not None and (step := progress.step):
            path = checkpoints.path(step)
            self.mean.restore(checkpoints.means(path), step=step, what=path)
        self.history = History(run.folder / HISTORY, step=run.first_step + progress.step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            return  # `finish` has waited
        try:
            self._announce(self.checkpoints.wait())
        except StageFailed as error:
            logger.error("%s", error)  # not raised: the error that ended the run is

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add a row to the history."""
        self.history.append({"step": self.run.first_step + step, "time": time.time(), **metrics})

    def after_update(self, step: int) -> None:
        """Add the weights to the running mean, and announce a checkpoint that is complete."""
        if self.mean is not None:
            self.mean.take(step)
        self._announce(self.checkpoints.written())

    def checkpoint(self, progress: Progress) -> Progress:
        """Validate, if it is due, and begin to write a checkpoint. -> where the run stands then."""
        step = progress.step
        if self.run.has_validation(step):
            metrics = self.run.validate(self.objective.student)
            self.log(step, metrics)
            selection = progress.selection.after(step, metrics, self.run.config.early_stopping)
            progress = replace(progress, selection=selection)
        self._announce(self.checkpoints.wait())
        means = {} if self.mean is None else self.mean.means
        self.checkpoints.save(self.objective, self.optimizer, progress, means)
        return progress

    def finish(self, progress: Progress) -> None:
        """Wait for the last checkpoint, and validate the averaged weights of a complete run."""
        self.checkpoints.wait()
        if progress.is_over(self.run.config.updates):
            self._score_average(progress)
        self.run.on_checkpoint(self.run.first_step + progress.step)

    def _announce(self, written: int | None) -> None:
        if written is not None:
            self.run.on_checkpoint(self.run.first_step + written)

    def _score_average(self, progress: Progress) -> None:
        """Validate the averaged weights, unless an earlier process of this run has done so."""
        if dev_scores(self.history.path, self.run.first_step + progress.step, AVERAGED):
            return
        weights = averaged(self.run.config, self.checkpoints, progress)
        if weights is None:
            return
        student = copy.deepcopy(self.objective.student)
        set_tensors(student, student_of(weights))
        metrics = self.run.validate(student)
        self.log(progress.step, {name.replace(DEV, AVERAGED, 1): v for name, v in metrics.items()})


def dev_scores(history: Path, step: int, prefix: str) -> dict[str, float]:
    """Dev metrics at a step of the history; empty if it has none.

    Prefix: `DEV` for those of the weights after that update, `AVERAGED` for their mean's.
    """
    return {
        name.removeprefix(prefix): value
        for row in read_history(history)
        if row["step"] == step
        for name, value in row.items()
        if name.startswith(prefix) and "/" not in name.removeprefix(prefix)
    }
