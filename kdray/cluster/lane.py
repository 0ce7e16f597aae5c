"""A lane: a run of Ray Train whose workers train one model after another.

So a model pays neither for new processes nor for their imports. The first worker takes the next
model from a queue in the storage, or from the driver's where nodes have no folder in common, and
tells the others.

Checkpoints are the training loop's own, where every worker sees them: they resume bit for bit, are
found again by a new driver, and are written without stalling Ray's controller. What Ray Train notes
itself is read by nobody, so the folder for it may be one of each node.
"""

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ray.train
import ray.train.torch
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from kdray.cluster.address import cluster_address, uses_ray_internals
from kdray.cluster.distant_queue import DistantQueue
from kdray.cluster.failures import reason
from kdray.cluster.ray_internals import trainer_class
from kdray.cluster.session import Width
from kdray.cluster.train import FINAL, PlannedTraining, train_and_publish
from kdray.config.execution import Execution
from kdray.errors import TrainingDiverged
from kdray.fit.machine import give_memory_back, prepare
from kdray.fit.worker import Worker
from kdray.storage.queue import Queue


@dataclass(frozen=True, slots=True)
class Lane:
    """What the workers of a lane are given. Each has as many threads as CPUs."""

    name: str
    trainings: tuple[PlannedTraining, ...]
    queue: Queue | DistantQueue  # of the numbers of trainings
    threads: int
    tokens_per_pass: int | None


def train_in_lane(lane: Lane, worker: Worker | None) -> None:
    """Train one model after another, in each worker of a lane, until none is left.

    The worker is one of a run of Ray Train, which tells its place, unless it is given. A model
    that cannot be trained is noted as failed, and the next one is begun. Any other error ends the
    lane; another lane may go on with the same model.
    """
    worker = worker or _worker_of_ray()
    while (number := _next(lane, worker)) is not None:
        prepare(threads=lane.threads, device=worker.device)
        try:
            tracked = lane.trainings[number].begin(worker)
            train_and_publish(
                tracked, worker, threads=lane.threads, tokens_per_pass=lane.tokens_per_pass
            )
        except FINAL as error:
            lane.queue.fail_own(lane.name, number, str(error))
            if worker.world_size > 1 and not isinstance(error, TrainingDiverged):
                raise  # another worker may not have seen it, and would wait for this one
        else:
            if worker.is_first:
                lane.queue.finish(lane.name, number)
        give_memory_back(worker.device)


def _next(lane: Lane, worker: Worker) -> int | None:
    """The number of the next training, which the first worker takes and tells the others."""
    taken = lane.queue.take(lane.name) if worker.is_first else None
    number = int(worker.total([torch.tensor(0.0 if taken is None else taken + 1.0)])[0])
    return number - 1 if number else None


def start_lane(
    lane: Lane, width: Width, execution: Execution, *, folder: Path
) -> Future[str | None]:
    """Run a lane in a thread of the driver. -> why it failed, or None.

    Ray Train keeps notes of its own in the folder. The thread is one that Python does not wait for
    at its end: Ray may leave it in a call that never returns when the session is shut down.
    """
    future = Future[str | None]()
    trainer = make_trainer(lane, width, execution, folder=folder)
    threading.Thread(target=_fit, args=(trainer, future), daemon=True).start()
    return future


def make_trainer(lane: Lane, width: Width, execution: Execution, *, folder: Path) -> TorchTrainer:
    """The run of a lane. Its name is new to Ray Train, which would restore a run that it knows.

    Ray Train does not begin it again: it would count the failures of all its models together.
    """
    resources = {"CPU": float(width.cpus), **({"GPU": 1.0} if execution.use_gpu else {})}
    local = cluster_address(execution) is None
    make = trainer_class(local=local) if uses_ray_internals() else TorchTrainer
    return make(
        partial(train_in_lane, lane, None),
        scaling_config=ScalingConfig(
            num_workers=width.workers, use_gpu=execution.use_gpu, resources_per_worker=resources
        ),
        run_config=RunConfig(
            name=lane.name, storage_path=str(folder), failure_config=FailureConfig(max_failures=0)
        ),
    )


def _fit(trainer: TorchTrainer, future: Future[str | None]) -> None:
    """Run a lane to its end, and say in the future why it failed, or None."""
    try:
        trainer.fit()
        future.set_result(None)
    except ray.train.TrainingFailedError as error:
        future.set_result(reason(error))
    except BaseException as error:
        future.set_exception(error)


def _worker_of_ray() -> Worker:
    context, device = ray.train.get_context(), ray.train.torch.get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)  # what collectives without tensors of their own go by
    return Worker(context.get_world_rank(), context.get_world_size(), device)
