"""Search on Ray Tune: each trial is one student, trained in the trial's own process.

A trial holds the CPUs (and GPU) of one worker, so Tune's parallelism is the only one: a Train run
inside a trial would ask for resources a second time. Trials share the teacher's stored signals and
publish their students like any other, so a trial that was finished before is found again. Tune may
end a trial at any report, by SystemExit: a student is published before its last row is reported.
"""

import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from kdray.artifacts import Store, read_json, write_json
from kdray.cluster.failures import reason
from kdray.cluster.session import run_width
from kdray.cluster.train import FINAL, TrackedJob, train_and_publish
from kdray.config.execution import Execution
from kdray.config.search import Choice, Dimension, LogUniform, SearchConfig
from kdray.config.training import TrainingConfig
from kdray.errors import StageFailed
from kdray.fit.checkpoint import newest_progress
from kdray.fit.history import HISTORY, certain_rows, read_history
from kdray.fit.job import TrainingJob
from kdray.fit.machine import prepare
from kdray.fit.trunk import CHECKPOINTS
from kdray.fit.worker import Worker
from kdray.plan.step import Step, params_of, spec_of, tags_of
from kdray.storage.held import Held
from kdray.tracking import Tracker

_TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # its own handler makes a result of Ctrl-C
    "RAY_AIR_NEW_OUTPUT": "0",  # of the two reporters, the one that can be silent
}

FAILED = "failed.json"  # in a trial's folder: why it fails in every attempt of a search

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
    tracker: Tracker
    parent_run: str
    training: TrainingConfig


def search(
    job: SearchJob, *, execution: Execution, watch: Callable[[Sequence[Values]], None]
) -> list[TrialResult]:
    """Run all trials. -> their results, best first, failed ones last."""
    results = [_result(result, job) for result in _tuner(job, execution, watch).fit()]
    job.tracker.finish_children(job.parent_run, "FAILED")  # of trials whose processes died
    sign = -1 if mode(job.config) == "max" else 1
    worst = float("inf")
    return sorted(results, key=lambda t: worst if t.score is None else sign * t.score)


def _tuner(
    job: SearchJob, execution: Execution, watch: Callable[[Sequence[Values]], None]
) -> tune.Tuner:
    os.environ.update(_TUNE_ENVIRONMENT)
    config, is_grid = job.config, job.config.algorithm == "grid"
    one_worker = execution.model_copy(update={"train_workers": 1})
    runs = execution.parallel_students
    cpus = run_width(one_worker, runs=runs, tokens_per_update=1).cpus
    resources = {"cpu": cpus, "gpu": int(execution.use_gpu)}
    device, name = "cuda" if execution.use_gpu else "cpu", f"search-{uuid.uuid4().hex[:8]}"
    body = tune.with_parameters(_run_trial, job=job, search=name, threads=cpus, device=device)
    return tune.Tuner(
        tune.with_resources(body, resources),
        param_space={name: _domain(each, is_grid) for name, each in config.space.items()},
        tune_config=tune.TuneConfig(
            metric="score",
            mode=mode(config),
            num_samples=1 if is_grid else config.trials,
            search_alg=_algorithm(config, execution.parallel_students),
            scheduler=_scheduler(job),
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(job.store.root / "work" / "ray"),
            verbose=0,
            # A trial whose process died goes on from its own checkpoint, with the same values: the
            # sampler does not learn of it.
            failure_config=tune.FailureConfig(max_failures=execution.max_failures),
            callbacks=[_Watch(watch, job.tracker)],
        ),
    )


def mode(config: SearchConfig) -> str:
    """Whether a larger metric is better, in Ray's word."""
    return "min" if config.metric == "dev/loss" else "max"


def _run_trial(
    values: dict[str, Any], job: SearchJob, search: str, threads: int, device: str
) -> None:
    """Body of a trial: train, or find what was trained before; report every validation.

    One that is equal to a running trial waits for that, and finds what it made. One that failed in
    a way that it would fail again is not trained again, although Tune starts its process anew.
    """
    where = torch.device(device)
    prepare(threads=threads, device=where)
    step, store = job.trial(values), job.store
    folder, mirror = store.work_path(step.key), store.mirror(step.key)
    training = TrainingJob(spec_of(step), folder, store.fetch, mirror)
    reported, failed = 0, training.folder / FAILED
    if failed.exists() and (told := read_json(failed))["search"] == search:
        raise StageFailed(told["error"])
    with store.alone(step.key) as lease:
        if store.find(step.key) is None:
            try:
                worker = Worker(device=where)
                reported = _train(values, job, step, training, worker, lease, threads)
            except FINAL as error:
                training.folder.mkdir(parents=True, exist_ok=True)
                write_json(failed, {"search": search, "error": str(error)})
                raise
    for row in read_history(store.fetch(step.key) / HISTORY):
        if row["step"] > reported and job.config.metric in row:
            _report(row, job, step)


def _train(
    values: Values,
    job: SearchJob,
    step: Step,
    training: TrainingJob,
    worker: Worker,
    lease: Held,
    threads: int,
) -> int:
    """Train and publish. -> the update of the last row that was reported: one before the last."""
    tracker = job.tracker
    tags, params = tags_of(step), {**params_of(step), "searched": values}
    run_id = tracker.ensure_run(
        step.name, parent_id=job.parent_run, run_id=None, tags=tags, params=params
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
        train_and_publish(tracked, worker, threads=threads, told=report, held=lease)
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
    told = {"score": row[job.config.metric], "step": int(row["step"])}
    tune.report({**told, "fingerprint": trial.key.fingerprint, "run": run_id})


def _domain(dimension: Dimension, is_grid: bool) -> Any:  # noqa: ANN401 (one of Tune's domains)
    if isinstance(dimension, Choice):
        return (tune.grid_search if is_grid else tune.choice)(list(dimension.values))
    draw = tune.loguniform if isinstance(dimension, LogUniform) else tune.uniform
    return draw(dimension.low, dimension.high)


def _algorithm(config: SearchConfig, parallel: int) -> Any:  # noqa: ANN401
    if config.algorithm == "optuna":
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return ConcurrencyLimiter(OptunaSearch(seed=config.seed), max_concurrent=parallel)
    return BasicVariantGenerator(random_state=config.seed, max_concurrent=parallel)


def _scheduler(job: SearchJob) -> Any:  # noqa: ANN401
    """ASHA, or None, which is Tune's own: first come, first served."""
    if not job.config.early_stopping:
        return None
    most, least = job.training.updates + 1, job.training.validate_every
    return ASHAScheduler(time_attr="step", max_t=most, grace_period=least)


def _result(result: Any, job: SearchJob) -> TrialResult:  # noqa: ANN401 (Tune's Result)
    metrics = result.metrics or {}
    error = None if result.error is None else reason(result.error)
    history = result.metrics_dataframe
    has_score = error is None and history is not None and "score" in history
    return TrialResult(
        values=dict(result.config),
        score=float(history["score"].agg(mode(job.config))) if has_score else None,
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
        self.watch, self.tracker, self.shown = watch, tracker, 0.0

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        """Tune pickles its callbacks, and a display cannot be: this becomes an idle one."""
        return tune.Callback, ()

    def on_trial_result(self, iteration: int, trials: list[Any], *rest: Any, **info: Any) -> None:  # noqa: ANN401
        """Called by Tune in the driver."""
        if time.monotonic() - self.shown > 0.5:
            self.shown = time.monotonic()
            self.watch([each.last_result for each in trials])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ANN401
        """Called by Tune in the driver, while a trial that is to be stopped waits in its report."""
        if going_on := (trial.last_result or {}).get("run"):
            self.tracker.finish(going_on, "KILLED")
