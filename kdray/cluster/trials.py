"""Search on Ray Tune: each trial is one student, trained in the trial's own process.

A trial holds the CPUs (and GPU) of one worker, so Tune's parallelism is the only one: a Train run
inside a trial would ask for resources a second time. Trials share the teacher's stored signals and
publish their students like any other, so a trial that was finished before is found again. Tune may
end a trial at any report, by SystemExit: a student is published before its last row is reported.
"""

import logging
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, assert_never

import optuna
import torch
from filelock import FileLock
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from kdray.artifacts import Store
from kdray.cluster.session import run_width
from kdray.cluster.train import TrackedJob, train_and_publish
from kdray.config.execution import Execution
from kdray.config.search import Choice, Dimension, LogUniform, SearchConfig, Uniform
from kdray.fit.checkpoint import newest_progress
from kdray.fit.history import HISTORY, certain_rows, read_history
from kdray.fit.job import TrainingJob
from kdray.fit.machine import prepare
from kdray.fit.trunk import CHECKPOINTS
from kdray.fit.worker import Worker
from kdray.plan.step import TRIAL, Step, params_of, spec_of, tags_of
from kdray.tracking import NullTracker, Tracker, tracker_from_spec

logger = logging.getLogger(__name__)

_TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # its own handler makes a result of Ctrl-C
    "RAY_AIR_NEW_OUTPUT": "0",  # of the two reporters, the one that can be silent
}
ROLE = {"kdray.role": TRIAL}  # a tag of each trial's MLflow run

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What came of a trial. `score` is the best validation; None when it failed."""

    values: Values
    score: float | None
    step: int
    fingerprint: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class SearchJob:
    """A search. `trial` turns values into a student; it is called in the trial's process."""

    config: SearchConfig
    trial: Callable[[Values], Step]
    store: Store
    tracker: Mapping[str, str | None] = field(repr=False)  # may hold a password
    parent_run: str
    updates: int
    validate_every: int


def search(
    job: SearchJob, *, execution: Execution, watch: Callable[[Sequence[Values]], None]
) -> list[TrialResult]:
    """Run all trials. -> their results, best first, failed ones last."""
    tracker, ended = tracker_from_spec(job.tracker), False
    try:
        found = _fit(job, execution, _Watch(watch, tracker))
        ended = True
    finally:  # a process that was killed, or is about to be, leaves its run as if it went on
        tracker.finish_children(job.parent_run, ROLE, "FAILED" if ended else "KILLED")
    sign = -1 if mode(job.config) == "max" else 1
    worst = float("inf")
    return sorted(found, key=lambda t: worst if t.score is None else sign * t.score)


def _fit(job: SearchJob, execution: Execution, watch: "_Watch") -> list[TrialResult]:
    """The same in the order of the trials."""
    os.environ.update(_TUNE_ENVIRONMENT)
    config = job.config
    one_worker = execution.model_copy(update={"train_workers": 1})
    runs = execution.parallel_students
    cpus = run_width(one_worker, runs=runs, tokens_per_update=1).cpus
    resources = {"cpu": cpus, "gpu": 1 if execution.use_gpu else 0}
    device = "cuda" if execution.use_gpu else "cpu"
    body = tune.with_parameters(_run_trial, job=job, threads=cpus, device=device)
    results = tune.Tuner(
        tune.with_resources(body, resources),
        param_space=_grid(config) if config.algorithm == "grid" else _space(config),
        tune_config=tune.TuneConfig(
            metric="score",
            mode=mode(config),
            num_samples=1 if config.algorithm == "grid" else config.trials,
            search_alg=_algorithm(config, execution),
            scheduler=_scheduler(job),
        ),
        run_config=tune.RunConfig(
            name=f"search-{uuid.uuid4().hex[:8]}",
            storage_path=str(job.store.folder("work", "ray")),
            verbose=0,
            callbacks=[watch],
        ),
    ).fit()
    return [_result(result, job) for result in results]


def mode(config: SearchConfig) -> str:
    """Whether a larger metric is better, in Ray's word."""
    return "min" if config.metric == "dev/loss" else "max"


def _run_trial(values: dict[str, Any], job: SearchJob, threads: int, device: str) -> None:
    """Body of a trial: train, or find what was trained before; report every validation.

    One that is equal to a running trial waits for that, and finds what it made.
    """
    where = torch.device(device)
    prepare(threads=threads, device=where)
    step, store = job.trial(values), job.store
    training = TrainingJob(spec_of(step), store.work_path(step.key), store.fetch)
    reported = 0
    if store.find(step.key) is None:
        with _alone(training.folder):
            if store.find(step.key) is None:
                reported = _train(values, job, step, training, Worker(device=where), threads)
    for row in read_history(store.fetch(step.key) / HISTORY):
        if row["step"] > reported and job.config.metric in row:
            _report(row, job, step)


def _alone(folder: Path) -> FileLock:
    """Holds back equal trials: beside the folder, which goes when the student is published."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(folder.with_suffix(".lock"))


def _train(
    values: Values, job: SearchJob, step: Step, training: TrainingJob, worker: Worker, threads: int
) -> int:
    """Train and publish. -> the update of the last row that was reported: one before the last."""
    tracker = tracker_from_spec(job.tracker)
    run_id = tracker.ensure_run(
        step.name,
        parent_id=job.parent_run,
        run_id=None,
        tags=tags_of(step),
        params={**params_of(step), **values},
    )
    reported = 0

    def report(certain: int) -> None:
        """Hand on what a checkpoint makes certain, but for the last row of a run that is over."""
        nonlocal reported
        last = certain if _is_over(training, certain) else None
        for row in certain_rows(training.folder / HISTORY, certain):
            if reported < row["step"] != last and job.config.metric in row:
                reported = int(row["step"])
                _report(row, job, step, run_id)

    try:
        tracked = TrackedJob(training, job.store, run_id, job.tracker)
        train_and_publish(tracked, worker, threads=threads, told=report)
    except Exception:  # not a SystemExit: the driver has ended the run of a trial that it stops
        tracker.finish(run_id, "FAILED")
        raise
    return reported


def _is_over(job: TrainingJob, step: int) -> bool:
    """Whether the checkpoint of this update is a run's last one."""
    spec = job.spec
    if spec.training.early_stopping is None:
        return step == spec.ends_at
    return newest_progress(job.folder / CHECKPOINTS).is_over(spec.ends_at)


def _report(row: Mapping[str, float], job: SearchJob, trial: Step, run_id: str = "") -> None:
    """Tell Tune of a validation, and of the MLflow run that goes on, if one does."""
    tune.report(
        {
            "score": row[job.config.metric],
            "step": int(row["step"]),
            "fingerprint": trial.key.fingerprint,
            "run": run_id,
        }
    )


def _space(config: SearchConfig) -> dict[str, Any]:
    return {name: _domain(dimension) for name, dimension in config.space.items()}


def _domain(dimension: Dimension) -> Any:  # noqa: ANN401 (one of Tune's domains)
    match dimension:
        case Choice():
            return tune.choice(list(dimension.values))
        case LogUniform():
            return tune.loguniform(dimension.low, dimension.high)
        case Uniform():
            return tune.uniform(dimension.low, dimension.high)
        case _:
            assert_never(dimension)


def _grid(config: SearchConfig) -> dict[str, Any]:
    return {
        name: tune.grid_search(list(dimension.values))
        for name, dimension in config.space.items()
        if isinstance(dimension, Choice)
    }


def _algorithm(config: SearchConfig, execution: Execution) -> Any:  # noqa: ANN401
    if config.algorithm == "optuna":
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return ConcurrencyLimiter(
            OptunaSearch(seed=config.seed), max_concurrent=execution.parallel_students
        )
    return BasicVariantGenerator(
        random_state=config.seed, max_concurrent=execution.parallel_students
    )


def _scheduler(job: SearchJob) -> Any:  # noqa: ANN401
    if not job.config.early_stopping:
        return FIFOScheduler()
    return ASHAScheduler(time_attr="step", max_t=job.updates + 1, grace_period=job.validate_every)


def _result(result: Any, job: SearchJob) -> TrialResult:  # noqa: ANN401 (Tune's Result)
    metrics = result.metrics or {}
    error = None if result.error is None else str(result.error).strip().splitlines()[-1]
    history = result.metrics_dataframe
    best: float | None = None
    if error is None and history is not None and "score" in history:
        best = float(
            history["score"].max() if mode(job.config) == "max" else history["score"].min()
        )
    return TrialResult(
        values=dict(result.config),
        score=best,
        step=int(metrics.get("step", 0)),
        fingerprint=str(metrics.get("fingerprint", "")),
        error=error,
    )


class _Watch(tune.Callback):  # type: ignore[misc]
    """Hands the newest metrics of all trials to the display, twice a second at most.

    It also ends the MLflow runs of trials that the scheduler stops: they are ended themselves a few
    tenths of a second after the SystemExit.
    """

    def __init__(self, watch: Callable[[Sequence[Values]], None], tracker: Tracker) -> None:
        self.watch, self.tracker = watch, tracker
        self.shown = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks, and a display cannot be."""
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.watch, self.tracker, self.shown = lambda latest: None, NullTracker(), 0.0

    def on_trial_result(self, iteration: int, trials: list[Any], *rest: Any, **info: Any) -> None:  # noqa: ANN401
        """Called by Tune in the driver."""
        if time.monotonic() - self.shown > 0.5:
            self.shown = time.monotonic()
            self.watch([each.last_result for each in trials])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ANN401
        """Called by Tune in the driver, while a trial that is to be stopped waits in its report."""
        if going_on := (trial.last_result or {}).get("run"):
            self.tracker.finish(going_on, "KILLED")
