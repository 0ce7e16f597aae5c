"""Teacher signals on Ray Data: shards go to a pool of actors that write to storage themselves.

Only the numbers of shards and of rows pass through Ray's object store.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
import ray.data
import torch
from ray.data import ActorPoolStrategy, DataContext

from kdray.config.execution import Execution
from kdray.errors import StageFailed
from kdray.fit.machine import prepare
from kdray.teacher.shards import ShardPlan

Build = Callable[..., Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class ShardWork:
    """Shards to make: `maker(**arguments)` gives the function that builds one.

    on_gpu: whether each actor needs a GPU for that.
    """

    plan: ShardPlan
    maker: Callable[..., Build]
    arguments: Mapping[str, Any]
    on_gpu: bool = False


class ShardActor:
    """Builds shards; made once in each actor."""

    def __init__(self, work: ShardWork) -> None:
        prepare(threads=1, device=torch.device("cuda" if work.on_gpu else "cpu"))
        self.plan = work.plan
        self.build = work.maker(**work.arguments)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Make the shards of a batch. -> the batch."""
        for index in batch["shard"]:
            self.plan.make(int(index), self.build)
        return batch


def make_shards(work: ShardWork, *, execution: Execution, done: Callable[[int], None]) -> None:
    """Make all shards that are missing; `done` is told the number of rows of each.

    Raises:
        StageFailed: some could not be made; the others are kept.
    """
    missing = work.plan.missing()
    if not missing:
        return
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # the display shows what it would say
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    dataset = ray.data.from_items(
        [{"shard": index} for index in missing], override_num_blocks=len(missing)
    ).map_batches(
        ShardActor,
        fn_constructor_args=(work,),
        batch_size=1,
        compute=ActorPoolStrategy(size=min(actors(execution, on_gpu=work.on_gpu), len(missing))),
        num_cpus=1,
        num_gpus=1 if work.on_gpu else 0,
    )
    try:
        for row in dataset.iter_rows():
            start, stop = work.plan.ranges[int(row["shard"])]
            done(stop - start)
    except ray.exceptions.RayError as error:
        raise StageFailed(_message(work, str(error).strip().splitlines()[-1])) from error
    if work.plan.missing():
        raise StageFailed(_message(work, "Ray Data ended without them"))


def actors(execution: Execution, *, on_gpu: bool) -> int:
    """Size of the pool: as set, or one for each GPU, or for each CPU."""
    if execution.decode_actors is not None:
        return execution.decode_actors
    resources = ray.cluster_resources()
    return max(1, int(resources.get("GPU" if on_gpu else "CPU", 1)))


def _message(work: ShardWork, reason: str) -> str:
    missing = work.plan.missing()
    return (
        f"{work.plan.folder}: {len(missing)} of {len(work.plan.ranges)} shards are missing, first "
        f"{missing[0]}: {reason}; run the same command again to make them"
    )
