"""Search on Ray Tune: each trial is one student, trained in the trial's own process.

A trial holds the CPUs (and GPU) of one worker, so Tune's parallelism is the only one: a Train run
inside a trial would ask for resources a second time. Trials share the teacher's stored signals and
publish their students like any other, so a trial that was finished before is found again, and a
repeated search tells its sampler and its scheduler what they were told before.
"""

import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray import tune

from kdray.cluster.failures import reason
from kdray.cluster.one_trial import FINGERPRINT, RUN, Trial, run_trial
from kdray.cluster.proposals import (
    STEP,
    BudgetStopper,
    Told,
    key_of,
    proposer,
    scheduler,
)
from kdray.cluster.session import run_width
from kdray.config.execution import Execution
from kdray.config.objectives import scores_in
from kdray.config.search import SearchConfig
from kdray.config.space import num_trials
from kdray.plan.step import spec_of
from kdray.statistics.trials import TrialResult
from kdray.tracking import Tracker

_TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # its own handler makes a result of Ctrl-C
    "RAY_AIR_NEW_OUTPUT": "0",  # of the two reporters, the one that can be silent
}

Watch = Callable[[Sequence[Mapping[str, Any]]], None]


@dataclass(frozen=True, slots=True)
class SearchJob:
    """A search: what a trial needs, and where the first validation and the last update are."""

    trial: Trial
    first: int
    last: int
    earlier: Told = ()

    @property
    def config(self) -> SearchConfig:
        """The search as it is configured."""
        return self.trial.config


def search(job: SearchJob, *, execution: Execution, watch: Watch) -> list[TrialResult]:
    """Run all trials. -> their results, best first, failed ones last."""
    results = [_result(result, job) for result in _tuner(job, execution, watch).fit()]
    job.trial.tracker.finish_children(job.trial.parent_run, "FAILED")  # whose processes died
    sign, worst = -job.config.first.sign, float("inf")
    return sorted(results, key=lambda t: worst if t.score is None else sign * t.score)


def _tuner(job: SearchJob, execution: Execution, watch: Watch) -> tune.Tuner:
    os.environ.update(_TUNE_ENVIRONMENT)
    config, runs, store = job.config, execution.parallel_students, job.trial.store
    one_worker = execution.model_copy(update={"train_workers": 1})
    cpus = run_width(one_worker, runs=runs, tokens_per_update=1).cpus
    resources = {"cpu": cpus, "gpu": int(execution.use_gpu)}
    device, name = "cuda" if execution.use_gpu else "cpu", f"search-{uuid.uuid4().hex[:8]}"
    body = tune.with_parameters(
        run_trial, trial=job.trial, search=name, threads=cpus, device=device
    )
    return tune.Tuner(
        tune.with_resources(body, resources),
        tune_config=tune.TuneConfig(
            num_samples=num_trials(config),
            search_alg=proposer(config, parallel=runs, earlier=job.earlier),
            scheduler=scheduler(config, first=job.first, last=job.last),
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(store.root / "work" / "ray"),
            verbose=0,
            stop=BudgetStopper.of(config),
            # A trial whose process died goes on from its own checkpoint, with the same values: the
            # sampler does not learn of it.
            failure_config=tune.FailureConfig(max_failures=execution.max_failures),
            callbacks=[_Watch(watch, job.trial.tracker)],
        ),
    )


def _result(result: Any, job: SearchJob) -> TrialResult:  # noqa: ANN401 (Tune's Result)
    metrics = result.metrics or {}
    error = None if result.error is None else reason(result.error)
    history, values = result.metrics_dataframe, dict(result.config)
    scores: dict[str, float] = {}
    curve: list[tuple[int, float]] = []
    if error is None and history is not None and key_of(0) in history:
        rows = history.drop_duplicates(STEP, keep="last").sort_values(STEP)
        curve = [(int(s), float(v)) for s, v in zip(rows[STEP], rows[key_of(0)], strict=True)]
        last: dict[str, float] = {
            each.metric: rows[key_of(number)].iloc[-1]
            for number, each in enumerate(job.config.objectives)
        }
        scores = scores_in(last, job.config.objectives)
    step = job.trial.step_of(values)
    is_made = job.trial.store.find(step.key) is not None
    return TrialResult(
        values=values,
        score=scores.get(job.config.first.metric),
        step=int(metrics.get(STEP, 0)),
        fingerprint=str(metrics.get(FINGERPRINT, "")),
        error=error,
        scores=scores,
        curve=curve,
        updates=spec_of(step).ends_at,
        is_stopped=error is None and not is_made,
    )


class _Watch(tune.Callback):  # type: ignore[misc]
    """Hands the newest metrics of all trials to the display, twice a second at most.

    It also ends the MLflow runs of trials that the scheduler stops: they are ended themselves a few
    tenths of a second after the SystemExit.
    """

    def __init__(self, watch: Watch, tracker: Tracker) -> None:
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
        if going_on := (trial.last_result or {}).get(RUN):
            self.tracker.finish(going_on, "KILLED")
