"""Teacher signals on Ray Data: shards go to a pool of actors that write to storage themselves.

Only the numbers of shards and of rows pass through Ray's object store.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray
import ray.data
import torch
from ray.data import ActorPoolStrategy, DataContext

from kdray.artifacts import Key, Store
from kdray.cluster.address import uses_ray_internals
from kdray.cluster.failures import failure
from kdray.cluster.ray_internals import without_restarts
from kdray.cluster.session import node_cpus
from kdray.config.execution import Execution
from kdray.errors import StageFailed
from kdray.fit.machine import prepare
from kdray.jobs import Cut
from kdray.storage.parts import Parts
from kdray.teacher.attempts import lay_death
from kdray.teacher.budget import Budget
from kdray.teacher.earlier import note_earlier
from kdray.teacher.making import BatchSize, free_memory, make_shard
from kdray.teacher.shards import ShardPlan


@dataclass(frozen=True, slots=True)
class ShardWork:
    """The shards of one step: the job that builds them, and where they and its own files are.

    `parts` keep them where the nodes have no folder in common. `earlier` are artifacts that hold
    rows which can be taken.
    """

    job: Cut
    plan: ShardPlan
    store: Store
    work: Path
    device: str
    budget: Path | None = None  # what is known of the size of batches, if something depends on it
    parts: Parts | None = None
    earlier: tuple[Key, ...] = ()

    def counts(self, index: int) -> dict[str, Any]:
        """What was counted in a finished shard; empty if it is on another node yet."""
        counts = self.plan.record(index)["counts"] if self.plan.is_made(index) else {}
        return dict(counts)

    def bring(self) -> None:
        """Have all shards here that other nodes have made."""
        if self.parts is not None:
            self.parts.bring()


Shard = tuple[int, int]  # the place of its work among all, and its own in the plan


class Made(NamedTuple):
    """A shard that is finished, and which process made it; empty where nobody knows."""

    work: int
    shard: int
    worker: str = ""


class ShardActor:
    """Builds shards of several works, one work after another."""

    def __init__(
        self, works: Sequence[ShardWork], tokens: int | None, memory: float | None, processes: int
    ) -> None:
        device = works[0].device
        prepare(threads=1, device=torch.device(device))
        self.works, self.tokens = works, tokens
        self.memory = memory or free_memory(device, processes=processes)
        self.worker = str(ray.get_runtime_context().get_actor_id()) if ray.is_initialized() else ""
        self.opened: int | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Make the shards of a batch. -> the batch, and who made it."""
        for number, index in zip(batch["work"], batch["shard"], strict=True):
            work = self.works[int(number)]
            if self.opened != number:
                if work.parts is not None:  # this node may be another one than the driver's
                    work.work.mkdir(parents=True, exist_ok=True)
                    if work.earlier:
                        note_earlier(work.work, work.earlier)
                    work.job.prepare(work.work, work.store.fetch, device=work.device)
                self.build = work.job.builder(work.work, work.store.fetch, device=work.device)
                self.opened = int(number)
            budget = None if work.budget is None else Budget.load(work.budget)
            size = BatchSize(self.tokens, budget, self.memory, work.device)
            make_shard(
                work.plan, int(index), self.build, size, worker=self.worker, parts=work.parts
            )
            if work.parts is not None:
                work.parts.keep(work.plan.path(int(index)))
        return batch | {"worker": np.full(len(batch["work"]), self.worker)}


def make_shards(works: Sequence[ShardWork], *, execution: Execution) -> Iterator[Made]:
    """Make all shards that are missing. Yields each that is made.

    All works go through one pool, whose processes take seconds to start. They have one device. A
    work of which all shards were told is not looked at again: they may be joined and removed.
    When a process dies, those that are still missing are begun again: `max_failures` times in a row
    without a new shard. What it had in hand is begun with more care (`kdray.teacher.attempts`).

    Raises:
        StageFailed: some could not be made; the others are kept.
    """
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # the display shows what it would say
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    left, failures = _missing(works), 0
    while left:
        begun, cause = list(left), None
        try:
            for made in _making(works, begun, execution):
                left.remove(made[:2])
                yield made
        except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
            if getattr(error, "actor_init_failed", False):  # it would fail again
                raise failure(error, place=_told(works, left)) from error
            for work in works:
                lay_death(work.plan.folder, getattr(error, "actor_id", None), work.parts)
            cause = error
            for work in works:
                work.bring()
        except Exception as error:  # those of Ray Data's own code are no RayError
            raise failure(error, place=_told(works, left)) from error
        for shard in [each for each in left if works[each[0]].plan.is_made(each[1])]:
            left.remove(shard)
            yield Made(*shard)
        failures = failures + 1 if len(left) == len(begun) else 0
        if failures > execution.max_failures:
            why = cause or StageFailed("Ray Data ended without them")
            raise failure(why, place=_told(works, left)) from cause
        first = failures % max(1, len(left))  # the same shard may end its process every time
        left = left[first:] + left[:first]


def _making(
    works: Sequence[ShardWork], missing: Sequence[Shard], execution: Execution
) -> Iterator[Made]:
    """Make shards; yields each that is finished."""
    on_gpu = works[0].device == "cuda"
    size = min(actors(execution, on_gpu=on_gpu), len(missing))
    memory = execution.decode_memory_gb and execution.decode_memory_gb * 2**30
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of `without_restarts`
        dataset = ray.data.from_items(
            [{"work": number, "shard": index} for number, index in missing],
            override_num_blocks=len(missing),
        ).map_batches(
            ShardActor,
            fn_constructor_args=(
                works,
                execution.decode_tokens,
                memory,
                min(size, max(node_cpus(), default=1)),
            ),
            batch_size=1,
            compute=ActorPoolStrategy(size=size),
            num_cpus=1,
            num_gpus=int(on_gpu),
            **(without_restarts() if uses_ray_internals() else {}),
        )
    for row in dataset.iter_rows():
        yield Made(int(row["work"]), int(row["shard"]), str(row["worker"]))


def actors(execution: Execution, *, on_gpu: bool) -> int:
    """Size of the pool: as set, or one for each GPU, or for each CPU."""
    if execution.decode_actors is not None:
        return execution.decode_actors
    resources = ray.cluster_resources()
    return max(1, int(resources.get("GPU" if on_gpu else "CPU", 1)))


def _missing(works: Sequence[ShardWork]) -> list[Shard]:
    """Work after work, so that a process opens few models."""
    return [(number, index) for number, work in enumerate(works) for index in work.plan.missing()]


def _told(works: Sequence[ShardWork], left: Sequence[Shard]) -> str:
    """Which shards there are not, in words."""
    places = []
    for number, work in enumerate(works):
        if missing := sorted(
            index for of, index in left if of == number and not work.plan.is_made(index)
        ):
            of_all = f"{len(missing)} of {len(work.plan.ranges)} shards are missing"
            places.append(f"{work.plan.folder}: {of_all}, first {missing[0]}")
    return "; ".join(places) or "no shard is missing"
