"""The training loop: one update after another, each a pure function of seed and step.

So a run that is resumed equals one that was not, bit for bit on a CPU with the same number of
workers.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from kdray.config import TrainingConfig
from kdray.errors import DataError
from kdray.fit.checkpoint import HISTORY, Checkpoints, History, Progress
from kdray.fit.data import TrainingData
from kdray.fit.meter import Meter
from kdray.fit.objective import Objective
from kdray.fit.update import Updater, new_optimizer
from kdray.fit.worker import Worker
from kdray.model.transformer import Transformer

logger = logging.getLogger(__name__)

LOG_EVERY = 25  # updates, or the largest divisor of checkpoint_every below

Validate = Callable[[Transformer], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Run:
    """What one training run is made of.

    Attributes:
        config: length, batches, optimiser.
        seed: of initialisation, order and dropout.
        folder: checkpoints and history; a run that finds some continues them.
        validate: dev metrics of the student; called by the first worker only.
        dev: dev pairs, for a gate that learns from them.
        until: the update after which it ends, if that is before its last.
        first_step: updates that stages before this one made; the history counts on from there.
        tokens_per_pass: target tokens that a worker learns at once; None: its whole share.
        on_checkpoint: called by the first worker after each checkpoint.
        stop: asked after each validation with its metrics; True ends the run there.
    """

    config: TrainingConfig
    seed: int
    folder: Path
    validate: Validate
    dev: TrainingData | None = None
    until: int | None = None
    first_step: int = 0
    tokens_per_pass: int | None = None
    on_checkpoint: Callable[[], None] = lambda: None
    stop: Callable[[int, Mapping[str, float]], bool] = lambda step, metrics: False


def fit(objective: Objective, data: TrainingData, run: Run, worker: Worker) -> Progress:
    """Train to the last update, or continue to it. -> where the run stands.

    Raises:
        TrainingDiverged: the loss or its gradient is not finite; the last checkpoint is kept.
        DataError: there is nothing to train on.
    """
    if len(data) == 0:
        raise DataError(f"no pair is left to train on; left out: {dict(data.left_out)}")
    config = run.config
    optimizer = new_optimizer(objective, config)
    checkpoints = Checkpoints(run.folder / "checkpoints", keep=config.average_last)
    progress = checkpoints.restore(objective, optimizer)
    if progress.step:
        logger.info("continuing at update %d of %d", progress.step, config.updates)
    history = None
    if worker.is_first:
        history = History(run.folder / HISTORY, step=run.first_step + progress.step)
    updater = Updater(
        objective,
        optimizer,
        data,
        config,
        seed=run.seed,
        worker=worker,
        dev=run.dev,
        tokens_per_pass=run.tokens_per_pass,
    )
    meter = Meter()
    every = _log_every(config.checkpoint_every)
    while progress.step < (run.until or config.updates):
        progress = updater.take(progress, meter)
        last = progress.step == config.updates
        if history and (progress.step % every == 0 or last):
            history.append(
                {"step": run.first_step + progress.step, "time": time.time(), **meter.flush()}
            )
        if progress.step % config.checkpoint_every == 0 or last:
            stopped = False
            if worker.is_first and history:
                if progress.step % config.validate_every == 0 or last:
                    metrics = run.validate(objective.student)
                    history.append(
                        {"step": run.first_step + progress.step, "time": time.time(), **metrics}
                    )
                    stopped = run.stop(progress.step, metrics)
                checkpoints.save(objective, optimizer, progress)
                run.on_checkpoint()
            worker.barrier()
            meter.restart_clock()
            if worker.total([torch.tensor(float(stopped))])[0]:  # only the first worker knows
                return progress
    return progress


def _log_every(checkpoint_every: int) -> int:
    return max(n for n in range(1, LOG_EVERY + 1) if checkpoint_every % n == 0)
