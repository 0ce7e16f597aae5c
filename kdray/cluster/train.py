"""One training in one process: trained, told to the tracker, published. Nothing here is Ray's.

A lane of Ray Train and a trial of Ray Tune do the same with a model.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch

from kdray.artifacts import Key, Store
from kdray.errors import ArtifactDamaged, InputError, StageFailed, TrainingDiverged
from kdray.fit.history import HISTORY, best_values, certain_rows, read_history
from kdray.fit.job import TrainingJob
from kdray.fit.worker import Worker
from kdray.storage.lease import Lease
from kdray.tracking import PlannedRun, Tracker, beside

FINAL = (ArtifactDamaged, InputError, TrainingDiverged)
"""What a training that ended with it would end with again."""
WAIT_SECONDS = 120.0  # for a worker of a killed command, which may live a little longer than that


@dataclass(frozen=True, slots=True)
class TrackedJob:
    """A training, where its model is published, and the MLflow run that follows it."""

    job: TrainingJob
    store: Store
    run_id: str
    tracker: Tracker


@dataclass(frozen=True, slots=True)
class PlannedTraining:
    """A training whose turn has not come. Its MLflow run begins where and when it does."""

    job: TrainingJob
    store: Store
    run: PlannedRun

    def begin(self, worker: Worker) -> TrackedJob:
        """Begin the run, in the first worker, which is the one that writes it."""
        run_id = self.run.begin() if worker.is_first else ""
        return TrackedJob(self.job, self.store, run_id, self.run.tracker)


def train_and_publish(
    tracked: TrackedJob,
    worker: Worker,
    *,
    threads: int,
    tokens_per_pass: int | None = None,
    told: Callable[[int], None] = lambda step: None,
    held: Lease | None = None,
) -> None:
    """Train in this worker. The first one tells the tracker, publishes, and ends the run.

    `told` is called with the step up to which the history is certain, after the tracker was.
    `held` is the lease of who makes the student, if the caller has it already.
    """
    job, store, tracker = tracked.job, tracked.store, tracked.tracker
    run = partial(job.run, worker, threads=threads, tokens_per_pass=tokens_per_pass)
    key, no = job.spec.key, torch.zeros(())
    if not worker.is_first:
        if not worker.total([no])[0]:  # waits until the first one holds the lease
            run()
        return
    with _alone(store, key) if held is None else nullcontext(held) as lease:
        is_made = store.find(key) is not None  # by a worker that died, or whose driver did
        if not worker.total([no + is_made])[0]:
            rows = partial(certain_rows, job.folder / HISTORY)
            with (
                tracker.system_metrics(tracked.run_id),
                beside(tracker, tracked.run_id, rows) as send,
            ):

                def tell(step: int) -> None:
                    lease.check()
                    send(step)
                    told(step)

                progress = run(on_checkpoint=tell)
            store.publish(key, lambda folder: job.publish(folder, progress), lease)
    history = read_history(store.fetch(key) / HISTORY)
    tracker.log_history(tracked.run_id, history)
    tracker.log_scores(tracked.run_id, best_values(history))
    tracker.finish(tracked.run_id, "FINISHED")


def _alone(store: Store, key: Key) -> Lease:
    """Wait to be the one that makes a student. Another that does not end is no fault of its own.

    Raises:
        StageFailed: another process makes it, perhaps one that is taken for dead; it may be tried
            again.
    """
    try:
        return store.alone(key, seconds=WAIT_SECONDS)
    except InputError as error:
        raise StageFailed(str(error)) from None
