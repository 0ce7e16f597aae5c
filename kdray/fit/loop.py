"""The training loop: one update after another, each a pure function of seed and step.

So a run that is resumed equals an undisturbed one, bit for bit on a CPU with the same number of
workers, and of threads of each.
"""

import logging

import torch

from kdray.config.training import LastAveragingConfig
from kdray.errors import DataError
from kdray.fit.checkpoint import Checkpoints, Progress
from kdray.fit.data import TrainingData
from kdray.fit.early_stopping import Selection
from kdray.fit.meter import Meter
from kdray.fit.objective import Objective
from kdray.fit.record import Recorder, Run
from kdray.fit.update import Updater, new_optimizer
from kdray.fit.worker import Worker

logger = logging.getLogger(__name__)

LOG_EVERY = 25  # updates; in a run, the largest divisor of checkpoint_every up to this


def fit(objective: Objective, data: TrainingData, run: Run, worker: Worker) -> Progress:
    """Train to the end, from the newest checkpoint if there is one. -> the progress at the end.

    Only the first worker validates, so only its progress holds the best validation.

    Raises:
        TrainingDiverged: the loss or its gradient is not finite; the last checkpoint is kept.
        StageFailed: a checkpoint could not be written; those before it are kept.
        DataError: there is nothing to train on, or the folder belongs to another model.
    """
    if len(data) == 0:
        raise DataError(f"no pair is left to train on; left out: {dict(data.left_out)}")
    optimizer = new_optimizer(objective, run.config)
    checkpoints = run_checkpoints(run)
    progress = _resume(checkpoints, objective, optimizer, run, worker)
    updater = Updater(objective, optimizer, data, run, worker)
    if not worker.is_first:
        return _train(updater, run, None, progress)
    with Recorder(run, objective, optimizer, checkpoints, progress) as recorder:
        progress = _train(updater, run, recorder, progress)
        recorder.finish(progress)
    return progress


def run_checkpoints(run: Run) -> Checkpoints:
    """The checkpoints of a run. It keeps as many as are averaged, and at least two."""
    averaging = run.config.effective_averaging()
    last = averaging.checkpoints if isinstance(averaging, LastAveragingConfig) else 1
    folder = run.folder / "checkpoints"
    return Checkpoints(folder, keep=max(last, 2), identity=run.identity, on_whole=run.keep)


def _train(updater: Updater, run: Run, recorder: Recorder | None, progress: Progress) -> Progress:
    meter = Meter()
    every = max(n for n in range(1, LOG_EVERY + 1) if run.config.checkpoint_every % n == 0)
    while not progress.is_over(run.goal):
        progress = updater.take(progress, meter)
        due = run.has_checkpoint(progress.step)
        if recorder is not None:
            recorder.after_update(progress.step)
            if due or progress.step % every == 0:
                recorder.log(progress.step, meter.flush())
        if due:
            if recorder is not None:
                progress = recorder.checkpoint(progress)
            meter.restart_clock()
            # Only the first worker knows whether to stop; the sum tells the others.
            stopped = torch.tensor(float(progress.selection.stopped))
            if updater.worker.total([stopped])[0]:
                break
    return progress


def _resume(
    checkpoints: Checkpoints,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    run: Run,
    worker: Worker,
) -> Progress:
    """If the first worker sees checkpoints, load the newest one on all workers. -> its progress."""
    newest = checkpoints.newest() if worker.is_first else None
    mine = Progress().step if newest is None else int(newest.name)
    step = int(worker.total([torch.tensor(mine)])[0])
    if step == 0:
        return Progress(selection=Selection.start(run.config.early_stopping))
    progress = checkpoints.load(checkpoints.path(step), objective, optimizer)
    logger.info("continuing at update %d of %d", step, run.goal)
    return progress
