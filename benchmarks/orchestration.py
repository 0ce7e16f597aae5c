"""What Ray and MLflow add to a training run: `training.py --orchestration`.

The same job is run by turns in two ways, each from new processes to their end: `direct`, where each
worker is a process that calls `TrainingJob.run`, and `orchestrated`, where a driver opens the
tracker and a Ray session and trains through `kdray.cluster.train`, with the system's metrics
recorded. Storage is new each time, so MLflow makes its database each time too. What an update
takes is read off the history that the loop writes, checkpoints and validation included, and what
is left of the whole time is spent outside updates: imports, Ray's session, MLflow's database, the
last checkpoint. One JSON line says how much longer each of the two is when orchestrated (medians
over rounds, and each round), and what share of a run with ten minutes of updates that makes.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from torch import distributed

from kdray.artifacts import Artifact, Key
from kdray.config import Execution, ModelConfig, TokenizerConfig, TrackingConfig, TrainingConfig
from kdray.config.methods import CrossEntropyConfig
from kdray.config.text import GeneratedCorpusConfig
from kdray.fit.history import HISTORY, read_history
from kdray.fit.job import TrainingJob
from kdray.fit.machine import prepare
from kdray.fit.worker import Worker
from kdray.text.corpus import build_corpus
from kdray.text.encoded import build_encoded
from kdray.text.tokenizer import Tokenizer, build_tokenizer

PIECES = 600  # that the generated text has enough words for
LONG_RUN = 600  # seconds of updates
NAME = "orchestration"  # of the job, and of MLflow's experiment


@dataclass(frozen=True)
class Seconds:
    """Of one run: of an update, and of everything else together."""

    update: float
    outside: float


Way = Callable[[TrainingJob, int, int], None]


def measure(model: str, *, updates: int, rounds: int, workers: int, threads: int) -> dict[str, Any]:
    """The line that is printed; see the module."""
    found: dict[str, list[Seconds]] = {"direct": [], "orchestrated": []}
    with tempfile.TemporaryDirectory() as folder:
        job = make_job(ModelConfig.model_validate({"preset": model}), updates, Path(folder))
        for number in range(rounds):
            for name, way in (("direct", direct), ("orchestrated", orchestrated)):
                own = replace(job, folder=Path(folder) / f"{name}-{number}" / "work" / NAME)
                found[name].append(seconds_of(way, own, workers, threads))
    return {
        "model": model,
        "updates": updates,
        "workers": workers,
        "threads": threads,
        **report(found),
    }


def report(found: Mapping[str, list[Seconds]]) -> dict[str, Any]:
    """Seconds outside updates and milliseconds of one, and what is added to them."""
    pairs = list(zip(found["direct"], found["orchestrated"], strict=True))
    outside = [after.outside - before.outside for before, after in pairs]
    update = [after.update - before.update for before, after in pairs]
    count = LONG_RUN / median(each.update for each in found["direct"])
    added = median(outside) + count * median(update)
    return {
        "outside_s": {
            name: round(median(s.outside for s in runs), 2) for name, runs in found.items()
        },
        "update_ms": {
            name: round(1000 * median(s.update for s in runs), 2) for name, runs in found.items()
        },
        "added_outside_s": [round(each, 2) for each in outside],
        "added_update_ms": [round(1000 * each, 2) for each in update],
        "ten_minutes_longer_by": round(added / LONG_RUN, 4),
        "of_which_outside": round(median(outside) / LONG_RUN, 4),
    }


def make_job(model: ModelConfig, updates: int, folder: Path) -> TrainingJob:
    """A job on generated text."""
    for name in ("corpus", "tokenizer", "encoded"):
        (folder / name).mkdir()
    build_corpus(GeneratedCorpusConfig(kind="generated"), folder / "corpus")
    corpus = Artifact(Key("corpus", 1, {}), folder / "corpus", {})
    build_tokenizer(TokenizerConfig(vocab_size=PIECES), corpus, folder / "tokenizer")
    build_encoded(corpus, Tokenizer.load(folder / "tokenizer"), folder / "encoded")
    schedule = {"kind": "inverse_sqrt", "peak": 1e-3, "warmup": 1}
    return TrainingJob(
        model=model,
        method=CrossEntropyConfig(kind="cross_entropy"),
        training=TrainingConfig.model_validate({"updates": updates, "schedule": schedule}),
        seed=1,
        corpus=folder / "corpus",
        tokenizer=folder / "tokenizer",
        encoded=folder / "encoded",
        folder=folder,
    )


def seconds_of(way: Way, job: TrainingJob, workers: int, threads: int) -> Seconds:
    """Run the job to its end."""
    job.folder.mkdir(parents=True)
    started = time.perf_counter()
    way(job, workers, threads)
    whole = time.perf_counter() - started
    rows = [row for row in read_history(job.folder / HISTORY) if "train/tokens_per_second" in row]
    first, last = rows[0], rows[-1]
    update = (last["time"] - first["time"]) / (last["step"] - first["step"])
    return Seconds(update, whole - job.training.updates * update)


def direct(job: TrainingJob, workers: int, threads: int) -> None:
    """Workers that nobody looks after."""
    in_processes(_worker, [(job, rank, workers, threads) for rank in range(workers)])


def orchestrated(job: TrainingJob, workers: int, threads: int) -> None:
    """As a study trains its models."""
    in_processes(_driver, [(job, workers, threads)])


def in_processes(body: Callable[..., None], arguments: list[tuple[Any, ...]]) -> None:
    """Call the body in a new process for each of the arguments."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=body, args=each) for each in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a training run failed; its error stands above")


def _worker(job: TrainingJob, rank: int, workers: int, threads: int) -> None:
    prepare(threads=threads)
    if workers > 1:
        meeting = f"file://{job.folder / 'meeting'}"
        distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=workers)
    job.run(Worker(rank, workers), threads=threads)
    if workers > 1:
        distributed.destroy_process_group()


def _driver(job: TrainingJob, workers: int, threads: int) -> None:
    from kdray.cluster.session import session
    from kdray.cluster.train import TrackedJob, train
    from kdray.tracking import open_tracker

    storage = job.folder.parent.parent
    execution = Execution(
        storage=str(storage),
        cpus=workers * threads,
        train_workers=workers,
        cpus_per_worker=threads,
    )
    tracker = open_tracker(TrackingConfig(), storage=storage, experiment=NAME)
    run_id = tracker.ensure_run(NAME, parent_id=None, run_id=None, tags={}, params={})
    tracked = TrackedJob(job, run_id, tracker.spec())
    with session(execution):
        for _, failure in train({NAME: tracked}, execution=execution, runs=1, watch=lambda: None):
            if failure is not None:
                raise failure
    tracker.log_history(run_id, read_history(job.folder / HISTORY))
    tracker.finish(run_id, "FINISHED")
