"""How much time do Ray and MLflow add to a training run? `training.py --orchestration` asks this.

The same job is run alternately in two ways, each in new processes: `direct`, where each worker is a
process that calls `TrainingJob.run`, and `orchestrated`, where a driver opens the tracker and a Ray
session and trains through `kdray.cluster.lanes`, with system metrics recorded. Storage is new each
time, so MLflow creates its database each time too. The time of an update is taken from the history
that the loop writes, with checkpoints and validation; the rest of the time is spent outside
updates. For an orchestrated run, this rest has two parts: that of the run itself, from the running
session to its last curve in MLflow, and that of the command around it (imports, the session,
MLflow's database), which a study of many runs pays only once.

The difference between the times of an update is smaller than the noise of a shared machine. So the
share of the processors that processes other than the workers use during updates is measured too: if
the workers keep all processors busy, the updates lose this share. One JSON line holds all results
(medians over rounds, and each round), and what they mean for a run with ten minutes of updates.
"""

import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from torch import distributed

from kdray.artifacts import Brought, Store
from kdray.command import exit_codes
from kdray.config.execution import Execution, TrackingConfig
from kdray.config.methods.cross_entropy import CrossEntropyConfig
from kdray.config.model import ModelConfig
from kdray.config.text import GeneratedCorpusConfig, TokenizerConfig
from kdray.config.training import TrainingConfig
from kdray.fit.assemble import Signals
from kdray.fit.history import HISTORY, read_history
from kdray.fit.job import TrainingJob
from kdray.fit.machine import prepare
from kdray.fit.spec import TrainingSpec
from kdray.fit.worker import Worker
from kdray.text.corpus_building import build_corpus
from kdray.text.encoded import build_encoded
from kdray.text.tokenizer import Tokenizer, build_tokenizer

PIECES = 600  # that the generated text has enough words for
LONG_RUN = 600  # seconds of updates
NAME = "orchestration"  # of the job, and of MLflow's experiment
TOLD = "told.json"  # what the driver measured


@dataclass(frozen=True)
class Seconds:
    """Times of one run: of an update, of the run outside updates, and of the command around it.

    beside: share of all processors that processes other than the workers use during updates.
    """

    update: float
    run: float
    command: float = 0.0
    beside: float = 0.0


Way = Callable[[TrainingJob, int, int], None]


def measure(model: str, *, updates: int, rounds: int, workers: int, threads: int) -> dict[str, Any]:
    """Run all rounds. -> the line that is printed; see the docstring of this file."""
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
    """Medians, what orchestration adds in each round, and what that means for a long run."""
    plain, whole = found["direct"], found["orchestrated"]
    pairs = list(zip(plain, whole, strict=True))
    run = [after.run - before.run for before, after in pairs]
    command = [added + after.command for added, after in zip(run, whole, strict=True)]
    update = [after.update - before.update for before, after in pairs]
    beside = median(each.beside for each in whole)
    return {
        "outside_s": {
            "direct": _rounded(median(each.run for each in plain)),
            "run": _rounded(median(each.run for each in whole)),
            "command": _rounded(median(each.run + each.command for each in whole)),
        },
        "update_ms": {
            name: _rounded(1000 * median(each.update for each in runs))
            for name, runs in found.items()
        },
        "added_to_run_s": [_rounded(each) for each in run],
        "added_by_command_s": [_rounded(each) for each in command],
        "added_to_update_ms": [_rounded(1000 * each) for each in update],
        "beside": [round(each.beside, 4) for each in whole],
        "ten_minutes_longer_by": {
            "run": round(median(run) / LONG_RUN + beside, 4),
            "command": round(median(command) / LONG_RUN + beside, 4),
        },
    }


def _rounded(value: float) -> float:
    return round(value, 2)


def make_job(model: ModelConfig, updates: int, folder: Path) -> TrainingJob:
    """A job on generated text."""
    for name in ("corpus", "tokenizer", "encoded"):
        (folder / name).mkdir()
    build_corpus(GeneratedCorpusConfig(kind="generated"), folder / "corpus")
    corpus = folder / "corpus"
    build_tokenizer(TokenizerConfig(vocab_size=PIECES), corpus, folder / "tokenizer")
    build_encoded(corpus, Tokenizer.load(folder / "tokenizer"), folder / "encoded")
    schedule = {"kind": "inverse_sqrt", "peak": 1e-3, "warmup": 1}
    spec = TrainingSpec(
        model=model,
        method=CrossEntropyConfig(kind="cross_entropy"),
        training=TrainingConfig.model_validate({"updates": updates, "schedule": schedule}),
        seed=1,
        ends_at=updates,
        corpus=Brought(corpus, "corpus"),
        tokenizer=Brought(folder / "tokenizer", "tokenizer"),
        encoded=Brought(folder / "encoded", "encoded"),
        signals=Signals(),
    )
    return TrainingJob(spec, folder, Store(folder).fetch)


def seconds_of(way: Way, job: TrainingJob, workers: int, threads: int) -> Seconds:
    """Run the job in one of the two ways, and measure it."""
    job.folder.mkdir(parents=True)
    started = time.perf_counter()
    way(job, workers, threads)
    whole = time.perf_counter() - started
    rows = [row for row in read_history(job.folder / HISTORY) if "train/tokens_per_second" in row]
    first, last = rows[0], rows[-1]
    update = (last["time"] - first["time"]) / (last["step"] - first["step"])
    updates, told = job.spec.ends_at * update, job.folder / TOLD
    if not told.exists():
        return Seconds(update, whole - updates)
    found = json.loads(told.read_text())
    return Seconds(update, found["run"] - updates, whole - found["run"], found["beside"])


def direct(job: TrainingJob, workers: int, threads: int) -> None:
    """Train with one process for each worker, and nothing around them."""
    in_processes(_worker, [(job, rank, workers, threads) for rank in range(workers)])


def orchestrated(job: TrainingJob, workers: int, threads: int) -> None:
    """Train with Ray and MLflow, as a study trains its models."""
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
    with exit_codes():
        _train(job, workers, threads)


def _train(job: TrainingJob, workers: int, threads: int) -> None:
    from kdray.cluster.lanes import train
    from kdray.cluster.session import session
    from kdray.cluster.train import PlannedTraining
    from kdray.tracking import PlannedRun, open_tracker

    storage, history = job.folder.parent.parent, job.folder / HISTORY
    execution = Execution(
        storage=str(storage),
        cpus=workers * threads,
        train_workers=workers,
        cpus_per_worker=threads,
    )
    tracker = open_tracker(TrackingConfig(), storage=storage, experiment=NAME)
    with session(execution):
        started, beside = time.perf_counter(), Beside(history)
        run = PlannedRun(tracker, NAME, None, None, {}, {})
        ends = train(
            {NAME: PlannedTraining(job, Store(storage), run)},
            execution=execution,
            runs=1,
            folder=storage / "lanes",
            watch=lambda names: beside.look(),
        )
        for _, failure in ends:
            if failure is not None:
                raise failure
        told = {"run": time.perf_counter() - started, "beside": beside.share()}
    (job.folder / TOLD).write_text(json.dumps(told))


class Beside:
    """Measures the CPU time of this process and those it started, except the training workers."""

    def __init__(self, history: Path) -> None:
        self.history = history
        self.processes: list[psutil.Process] = []
        self.first = self.last = (0.0, 0.0)  # seconds of the clock, and of the processes

    def look(self) -> None:
        """Take a reading, called repeatedly; readings begin with the first row of the history."""
        if not self.processes and self.history.exists() and self.history.stat().st_size:
            driver = psutil.Process()
            everyone = [driver, *driver.children(recursive=True)]
            self.processes = [p for p in everyone if "RayTrainWorker" not in " ".join(p.cmdline())]
            self.first = self._now()
        if self.processes:
            self.last = self._now()

    def share(self) -> float:
        """The share of all processors that was used between the first and the last reading."""
        clock, used = (after - before for before, after in zip(self.first, self.last, strict=True))
        return used / clock / (os.cpu_count() or 1)

    def _now(self) -> tuple[float, float]:
        times = [process.cpu_times() for process in self.processes if process.is_running()]
        return time.perf_counter(), sum(each.user + each.system for each in times)
