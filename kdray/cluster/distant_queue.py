"""The queue of trainings for workers that do not see the driver's folder: an actor beside it.

It is on the driver's own node and ends with the driver, so a worker that outlives its command finds
no queue, as it finds no folder where there is one.
"""

from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kdray.errors import StageFailed
from kdray.storage.queue import Queue


class _Keeper:
    def __init__(self, queue: Queue) -> None:
        self.queue = queue

    def call(self, name: str, *arguments: Any) -> Any:  # noqa: ANN401 (as the queue's own)
        return getattr(self.queue, name)(*arguments)


@dataclass(frozen=True, slots=True)
class DistantQueue:
    """What a taker on any node does with a queue; see `Queue`."""

    keeper: Any  # Ray's handle of the actor

    @classmethod
    def of(cls, queue: Queue) -> "DistantQueue":
        """Begin to answer for a queue in a folder of this node."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        keeper = ray.remote(_Keeper).options(num_cpus=0, scheduling_strategy=here)
        return cls(keeper.remote(queue))

    def take(self, taker: str) -> int | None:
        """See `Queue`."""
        number: int | None = self._call("take", taker)
        return number

    def finish(self, taker: str, item: int) -> None:
        """See `Queue`."""
        self._call("finish", taker, item)

    def fail_own(self, taker: str, item: int, reason: str) -> None:
        """See `Queue`."""
        self._call("fail_own", taker, item, reason)

    def _call(self, name: str, *arguments: Any) -> Any:  # noqa: ANN401
        try:
            return ray.get(self.keeper.call.remote(name, *arguments))
        except ray.exceptions.RayActorError as error:
            raise StageFailed(f"the driver's queue of trainings is gone: {error}") from error
