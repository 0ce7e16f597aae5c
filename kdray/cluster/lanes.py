"""Trainings on Ray Train, in lanes: the workers of a run train one model after another.

So a model pays neither for new processes nor for their imports. `parallel_students` lanes go on
side by side. Each takes the next model from a queue in the storage when it is free, and all of its
workers agree on it. When a process dies, so does its lane, and no other: what the lane had in hand
waits again, and a new lane goes on with it from its checkpoint.

Checkpoints are the training loop's own, on storage that every worker sees: they resume bit for
bit, are found again by a new driver, and are written without stalling Ray's controller.
"""

import logging
import shutil
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from kdray.cluster.failures import reason
from kdray.cluster.ray_internals import trainer_class
from kdray.cluster.session import Width, cluster_address, run_width, uses_ray_internals
from kdray.cluster.train import FINAL, PlannedTraining, train_and_publish
from kdray.config.execution import Execution
from kdray.errors import StageFailed, TrainingDiverged
from kdray.fit.machine import give_memory_back, prepare
from kdray.fit.worker import Worker
from kdray.storage.queue import Queue

POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Lane:
    """What the workers of a lane are given."""

    name: str
    trainings: tuple[PlannedTraining, ...]
    queue: Queue  # of the numbers of trainings
    threads: int
    tokens_per_pass: int | None


def train_in_lane(lane: Lane, worker: Worker) -> None:
    """Train one model after another, in each worker of a lane, until none is left.

    A model that cannot be trained is noted as failed, and the next one is begun. Any other error
    ends the lane, which may be begun again with the same model.
    """
    while (number := _next(lane, worker)) is not None:
        prepare(threads=lane.threads, device=worker.device)
        try:
            tracked = lane.trainings[number].begin(worker)
            train_and_publish(
                tracked, worker, threads=lane.threads, tokens_per_pass=lane.tokens_per_pass
            )
        except FINAL as error:
            lane.queue.fail(number, str(error))
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


@dataclass
class _Line:
    """Trainings of one width, and the lanes that take from them."""

    width: Width
    names: list[str]
    trainings: list[PlannedTraining]
    queue: Queue
    lanes: set[str] = field(default_factory=set)
    told: set[int] = field(default_factory=set)  # trainings whose end was told
    deaths: Counter[int] = field(default_factory=Counter)  # of lanes, by what they had in hand
    idle_deaths: int = 0  # of lanes that had nothing in hand, since a training has ended
    ended_then: int = 0  # trainings that had ended at the last of them

    def lanes_wanted(self) -> int:
        """How many more lanes would find a training that no lane will take in a moment."""
        return len(self.queue.waiting()) - len(self.lanes - self.in_hand().keys())

    def new_lane(self, execution: Execution) -> Lane:
        """One more lane."""
        name = f"lane-{uuid.uuid4().hex[:8]}"
        self.lanes.add(name)
        trainings = tuple(self.trainings)
        return Lane(name, trainings, self.queue, self.width.cpus, execution.tokens_per_pass)

    def in_hand(self) -> dict[str, int]:
        """What each lane works on."""
        held = ((lane, self.queue.in_hand(lane)) for lane in self.lanes)
        return {lane: number for lane, number in held if number is not None}

    def ended(self) -> Iterator[tuple[str, StageFailed | None]]:
        """Trainings that have ended since this was asked last, with their failures."""
        for number, why in self.queue.ended().items():
            if number not in self.told:
                self.told.add(number)
                name = self.names[number]
                yield name, None if why is None else StageFailed(f"{name}: {why}")

    def close(self, lane: str, why: str | None, *, max_failures: int) -> None:
        """A lane has ended, perhaps by a failure: what it had in hand waits again or has failed.

        Raises:
            StageFailed: no lane has come so far as to begin a training, several times in a row.
        """
        number = self.queue.in_hand(lane)
        self.lanes.remove(lane)
        if number is not None:
            self.deaths[number] += 1
            if self.deaths[number] > max_failures:
                self.queue.fail(number, why or "its workers ended before it did")
            else:
                self.queue.put_back(lane)
        elif why is not None and self.queue.waiting():
            ended = len(self.queue.ended())
            self.idle_deaths = self.idle_deaths + 1 if ended == self.ended_then else 0
            self.ended_then = ended
            if self.idle_deaths > max_failures:
                raise StageFailed(f"no training can be begun: {why}; run the command again")


def train(
    trainings: Mapping[str, PlannedTraining],
    *,
    execution: Execution,
    runs: int,
    folder: Path,
    watch: Callable[[Collection[str]], None],
) -> Iterator[tuple[str, StageFailed | None]]:
    """Train all models in `parallel_students` lanes. Yields each name as it ends, with its failure.

    Lanes of one width take from one queue, in the order given. `runs` counts the trainings with
    those that were finished before. The queues are in `folder`, which nobody else uses, and which
    is removed in the end. `watch` is called about twice a second with the names of what is trained.

    Raises:
        StageFailed: no worker can be started.
    """
    logging.getLogger("ray.train").setLevel(logging.ERROR)  # the display shows what it would say
    shutil.rmtree(folder, ignore_errors=True)  # of a command that was killed
    own = folder / uuid.uuid4().hex  # in which a worker that outlives its command finds nothing
    lines = _lines(trainings, execution, runs=runs, folder=own)
    running = dict[Future[str | None], tuple[_Line, str]]()
    try:
        while True:
            while len(running) < execution.parallel_students:
                line = max(lines, key=_Line.lanes_wanted, default=None)
                if line is None or line.lanes_wanted() < 1:
                    break
                lane = line.new_lane(execution)
                running[_start(_trainer(lane, line.width, execution, own / "ray"))] = (
                    line,
                    lane.name,
                )
            if not running:
                return
            done, _ = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            watch([line.names[each] for line in lines for each in line.in_hand().values()])
            for future in done:
                line, name = running.pop(future)
                line.close(name, future.result(), max_failures=execution.max_failures)
            for line in lines:
                yield from line.ended()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lines(
    trainings: Mapping[str, PlannedTraining], execution: Execution, *, runs: int, folder: Path
) -> list[_Line]:
    """The trainings by the width of their runs."""
    by_width = dict[Width, dict[str, PlannedTraining]]()
    for name, training in trainings.items():
        tokens = training.job.spec.training.tokens_per_update
        width = run_width(execution, runs=runs, tokens_per_update=tokens)
        by_width.setdefault(width, {})[name] = training
    return [
        _Line(
            width,
            list(same),
            list(same.values()),
            Queue.new(folder / f"{width.workers}-workers-{width.cpus}-cpus", len(same)),
        )
        for width, same in by_width.items()
    ]


def _start(trainer: TorchTrainer) -> Future[str | None]:
    """Run a lane in a thread of the driver. -> why it failed, or None.

    The thread is one that Python does not wait for at its end: Ray may leave it in a call that
    never returns when the session is shut down under it.
    """
    future = Future[str | None]()
    threading.Thread(target=_fit, args=(trainer, future), daemon=True).start()
    return future


def _trainer(lane: Lane, width: Width, execution: Execution, folder: Path) -> TorchTrainer:
    """The run of a lane, of a name that Ray Train does not know, or it would restore that run.

    It is not begun again by Ray Train, which would count the failures of all its models together.
    """
    resources = {"CPU": float(width.cpus), **({"GPU": 1.0} if execution.use_gpu else {})}
    local = cluster_address(execution) is None
    make = trainer_class(local=local) if uses_ray_internals() else TorchTrainer
    return make(
        _work,
        train_loop_config={"lane": lane},
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


def _work(config: dict[str, Any]) -> None:
    """The body of one worker."""
    context, device = ray.train.get_context(), ray.train.torch.get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)  # what collectives without tensors of their own go by
    train_in_lane(
        config["lane"], Worker(context.get_world_rank(), context.get_world_size(), device)
    )
    ray.train.report({"finished": True})
