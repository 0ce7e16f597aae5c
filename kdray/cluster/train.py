"""Training runs on Ray Train: several workers each, several runs side by side.

Checkpoints are the training loop's own, on storage that every worker sees: they resume bit for
bit, are found again by a new driver, and are written without stalling Ray's controller. Ray brings
the workers up, connects them, and starts them again when one dies.
"""

import logging
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from kdray.artifacts import Store
from kdray.cluster.failures import reason
from kdray.cluster.ray_internals import trainer_class
from kdray.cluster.session import Width, cluster_address, run_width, uses_ray_internals
from kdray.config.execution import Execution
from kdray.errors import StageFailed, TrainingDiverged
from kdray.fit.history import HISTORY, certain_rows, read_history
from kdray.fit.job import TrainingJob
from kdray.fit.machine import prepare
from kdray.fit.worker import Worker
from kdray.storage.lease import Lease
from kdray.tracking import Tracker, beside

DIVERGED = "diverged.txt"  # in a run's folder: why it ended for good
WAIT_SECONDS = 120.0  # for a worker of a killed command, which may live a little longer than that
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class TrackedJob:
    """A training, where its model is published, and the MLflow run that follows it."""

    job: TrainingJob
    store: Store
    run_id: str
    tracker: Tracker


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
    with store.alone(key, seconds=WAIT_SECONDS) if held is None else nullcontext(held) as lease:
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
    tracker.log_history(tracked.run_id, read_history(store.fetch(key) / HISTORY))
    tracker.finish(tracked.run_id, "FINISHED")


def train(
    jobs: Iterable[tuple[str, TrackedJob]],
    *,
    execution: Execution,
    runs: int,
    watch: Callable[[], None],
) -> Iterator[tuple[str, StageFailed | None]]:
    """Train all jobs, `parallel_students` at a time. Yields each as it ends, with its failure.

    A job is asked for when there is room for it. `runs` counts the jobs with those that were
    finished before. `watch` is called about twice a second while runs are going on.
    """
    logging.getLogger("ray.train").setLevel(logging.ERROR)  # the display shows what it would say
    waiting, running = iter(jobs), dict[Future[str | None], str]()
    while True:
        for name, tracked in islice(waiting, execution.parallel_students - len(running)):
            tokens = tracked.job.spec.training.tokens_per_update
            width = run_width(execution, runs=runs, tokens_per_update=tokens)
            running[_start(_trainer(tracked, execution, width), tracked.job.folder)] = name
        if not running:
            return
        done, _ = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        watch()
        for future in done:
            name, failure = running.pop(future), future.result()
            yield name, None if failure is None else StageFailed(f"{name}: {failure}")


def _start(trainer: TorchTrainer, folder: Path) -> Future[str | None]:
    """Run one training run in a thread of the driver. -> why it failed, or None.

    The thread is one that Python does not wait for at its end: Ray may leave it in a call that
    never returns when the session is shut down under it.
    """
    future = Future[str | None]()
    threading.Thread(target=_fit, args=(trainer, folder, future), daemon=True).start()
    return future


def _trainer(tracked: TrackedJob, execution: Execution, width: Width) -> TorchTrainer:
    """A training run, with a name of its own: Ray Train would restore a run that it knows."""
    resources = {"CPU": float(width.cpus), **({"GPU": 1.0} if execution.use_gpu else {})}
    local = cluster_address(execution) is None
    make = trainer_class(local=local) if uses_ray_internals() else TorchTrainer
    return make(
        _train_loop,
        train_loop_config={
            "tracked": tracked,
            "threads": width.cpus,
            "tokens_per_pass": execution.tokens_per_pass,
        },
        scaling_config=ScalingConfig(
            num_workers=width.workers, use_gpu=execution.use_gpu, resources_per_worker=resources
        ),
        run_config=RunConfig(
            name=f"{tracked.job.folder.name}-{uuid.uuid4().hex[:8]}",
            storage_path=str(tracked.job.folder.parent.parent / "ray"),
            failure_config=FailureConfig(max_failures=execution.max_failures),
        ),
    )


def _fit(trainer: TorchTrainer, folder: Path, future: Future[str | None]) -> None:
    """Run one training run to its end, and say in the future why it failed, or None."""
    try:
        try:
            trainer.fit()
        finally:
            own = trainer.run_config  # its folder holds nothing that anyone reads
            shutil.rmtree(Path(own.storage_path) / own.name, ignore_errors=True)
        diverged = folder / DIVERGED
        why = diverged.read_text(encoding="utf-8") if diverged.exists() else None
        future.set_result(why)
    except ray.train.TrainingFailedError as error:
        future.set_result(reason(error))
    except BaseException as error:
        future.set_exception(error)


def _train_loop(config: dict[str, Any]) -> None:
    """The body of one worker."""
    tracked: TrackedJob = config["tracked"]
    threads: int = config["threads"]
    context, device = ray.train.get_context(), ray.train.torch.get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)  # what collectives without tensors of their own go by
    prepare(threads=threads, device=device)
    worker = Worker(context.get_world_rank(), context.get_world_size(), device)
    diverged = tracked.job.folder / DIVERGED
    if worker.is_first:
        diverged.unlink(missing_ok=True)
    try:
        tokens_per_pass: int | None = config["tokens_per_pass"]
        train_and_publish(tracked, worker, threads=threads, tokens_per_pass=tokens_per_pass)
    except TrainingDiverged as error:  # in every worker; what Ray starts again would end the same
        if worker.is_first:
            diverged.write_text(str(error), encoding="utf-8")
    ray.train.report({"finished": True})
