"""Trainings in lanes that go on side by side: which are begun, and what is made of their ends.

When a process dies, so does its lane, and no other. What the lane had in hand waits again, and a
new lane goes on with it from its checkpoint.
"""

import logging
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path

from kdray.cluster.address import cluster_address
from kdray.cluster.distant_queue import DistantQueue
from kdray.cluster.lane import Lane, start_lane
from kdray.cluster.session import Width, run_width, runs_at_once
from kdray.cluster.train import PlannedTraining
from kdray.config.execution import Execution
from kdray.errors import StageFailed
from kdray.storage.queue import Queue

POLL_SECONDS = 0.5

Ended = tuple[str, StageFailed | None]
"""The name of a training that is over, and why it failed, if it did."""


def train(
    trainings: Mapping[str, PlannedTraining],
    *,
    execution: Execution,
    runs: int,
    folder: Path,
    watch: Callable[[Collection[str]], None],
) -> Generator[Ended]:
    """Train all models in `parallel_students` lanes. Yields each as it ends.

    Models whose runs are equally wide share lanes, which take them in the order given. `runs`
    counts the trainings with those that were finished before. The queues are in `folder`, which
    nobody else uses, and which is removed in the end. `watch` is called about twice a second with
    the names of what is trained. Lanes of an iterator that was closed take no more models.

    Raises:
        StageFailed: no worker can be started, or a storage of objects does not answer any more.
    """
    logging.getLogger("ray.train").setLevel(logging.ERROR)  # the display shows what it would say
    shutil.rmtree(folder, ignore_errors=True)  # of a command that was killed
    own = folder / uuid.uuid4().hex  # in which a worker that outlives its command finds nothing
    groups = _by_width(trainings, execution, runs=runs, folder=own)
    if any(each.store.remote for each in trainings.values()) and cluster_address(execution):
        for group in groups:
            group.taken_by = DistantQueue.of(group.queue)
    running = dict[Future[str | None], tuple[Group, str]]()
    try:
        while True:
            for group in groups:
                while len(running) < group.most and group.lanes_wanted() > 0:
                    lane = group.new_lane(execution)
                    future = start_lane(lane, group.width, execution, folder=own / "ray")
                    running[future] = group, lane.name
            if not running:
                break
            done, _ = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            watch([name for group in groups for name in group.in_hand().values()])
            for future in done:
                group, lane_name = running.pop(future)
                others = any(each.lanes for each in groups if each is not group)
                if (why := future.result()) is not None:
                    group.look()
                group.close(
                    lane_name,
                    why,
                    max_failures=execution.max_failures,
                    others=others,
                )
            for group in groups:
                yield from group.ended()
        for group in groups:
            yield from group.lost()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _by_width(
    trainings: Mapping[str, PlannedTraining], execution: Execution, *, runs: int, folder: Path
) -> "list[Group]":
    by_width = dict[Width, dict[str, PlannedTraining]]()
    for name, training in trainings.items():
        tokens = training.job.spec.training.tokens_per_update
        width = run_width(execution, runs=runs, tokens_per_update=tokens)
        by_width.setdefault(width, {})[name] = training
    groups = []
    for width, same in by_width.items():
        queue = Queue.new(folder / f"{width.workers}-workers-{width.cpus}-cpus", len(same))
        most = runs_at_once(execution, width)
        groups.append(Group(width, most, tuple(same), tuple(same.values()), queue))
    return groups


IDLE_ENDS = 3  # lanes in a row, beyond `max_failures`, that may end without having found anything
NOT_SEEN = (
    "workers find no training in the queue; the storage must be a folder that every node sees"
)


@dataclass
class Group:
    """Trainings whose runs are equally wide, and the lanes that take them from one queue."""

    width: Width
    most: int  # lanes, those of other groups among them, when one of this group is begun
    names: tuple[str, ...]
    trainings: tuple[PlannedTraining, ...]
    queue: Queue
    lanes: set[str] = field(default_factory=set)
    told: set[int] = field(default_factory=set)  # trainings whose end was told
    deaths: Counter[int] = field(default_factory=Counter)  # of lanes, by what they had in hand
    taken_by: DistantQueue | None = None  # what lanes are given; None: the queue itself
    barren: int = 0  # lanes in a row that died before they had taken a training

    def lanes_wanted(self) -> int:
        """How many more lanes would find a training that no lane will take in a moment."""
        idle = len(self.lanes) - len(self.in_hand())
        return len(self.queue.waiting()) - idle

    def new_lane(self, execution: Execution) -> Lane:
        """One more lane."""
        name = f"lane-{uuid.uuid4().hex[:8]}"
        self.queue.admit(name)
        self.lanes.add(name)
        queue, threads = self.taken_by or self.queue, self.width.cpus
        return Lane(name, self.trainings, queue, threads, execution.tokens_per_pass)

    def in_hand(self) -> dict[str, str]:
        """The name of what each lane works on."""
        held = ((lane, self.queue.in_hand(lane)) for lane in self.lanes)
        return {lane: self.names[number] for lane, number in held if number is not None}

    def look(self) -> None:
        """See that a storage of objects answers: if not, no model is to blame for a lane's end.

        Raises:
            StorageLost: it does not.
        """
        if (first := self.trainings[0]).store.remote is not None:
            first.store.find(first.job.spec.key)

    def close(self, lane: str, why: str | None, *, max_failures: int, others: bool) -> None:
        """A lane has ended, perhaps by a failure: what it had in hand waits again or has failed.

        If new lanes end before they take a training, those that are left go on without new ones.
        If none is left, the trainings have failed, while lanes of other widths go on (`others`).

        Raises:
            StageFailed: there are no others.
        """
        self.lanes.remove(lane)
        has_taken, number = self.queue.has_taken(lane), self.queue.dismiss(lane)
        if number is not None:
            self.deaths[number] += 1
            if self.deaths[number] > max_failures:
                self.queue.fail(number, why or "its workers ended before it did")
            else:
                self.queue.put_back(number)
        if has_taken:
            self.barren = 0
        elif why is not None or self.queue.waiting():
            self.barren += 1
            # What was put back a moment ago may wait when a lane ends that found nothing.
            most = max_failures if why is not None else max_failures + IDLE_ENDS
            if self.barren > most:
                self.most = max(1, len(self.lanes))
                self._give_up(why or NOT_SEEN, others=others)

    def _give_up(self, why: str, *, others: bool) -> None:
        """No lane can be begun: without one, what waits has failed."""
        if self.lanes or not (waiting := self.queue.waiting()):
            return
        if not others:
            raise StageFailed(f"no training can be begun: {why}; run the command again")
        for number in waiting:
            self.queue.fail(number, f"it cannot be begun: {why}")

    def ended(self) -> Iterator[Ended]:
        """Trainings that have ended since this was asked last."""
        for number, why in self.queue.ended().items():
            if number not in self.told:
                yield self._end(number, why)

    def lost(self) -> Iterator[Ended]:
        """When no lane is left: trainings whose files in the queue are not there any more."""
        for number in sorted(set(range(len(self.names))) - self.told):
            yield self._end(number, "the storage does not say how it ended; run the command again")

    def _end(self, number: int, why: str | None) -> Ended:
        self.told.add(number)
        name = self.names[number]
        return name, None if why is None else StageFailed(f"{name}: {why}")
