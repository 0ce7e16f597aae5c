"""One trial of a search in its own process: trained or found, and every validation reported.

Tune may end a trial at any report, by SystemExit: a student is published before its last row is
reported.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from ray import tune

from kdray.artifacts import Key, Store, read_json, write_json
from kdray.cluster.proposals import SECONDS, STEP, TOKENS, key_of
from kdray.cluster.train import FINAL, TrackedJob, train_and_publish
from kdray.config.objectives import scores_in
from kdray.config.search import SearchConfig
from kdray.config.space import Values
from kdray.errors import StageFailed
from kdray.fit.checkpoint import newest_progress
from kdray.fit.history import HISTORY, certain_rows, read_history
from kdray.fit.job import TrainingJob
from kdray.fit.machine import prepare
from kdray.fit.trunk import CHECKPOINTS
from kdray.fit.worker import Worker
from kdray.model.latency import latency
from kdray.model.storage import Shape
from kdray.plan.step import Step, params_of, spec_of, tags_of
from kdray.schema import Split
from kdray.storage.held import Held
from kdray.text.encoded import EncodedSplit
from kdray.text.tokenizer import Tokenizer
from kdray.tracking import Tracker

FINGERPRINT, RUN = "fingerprint", "run"  # what a report names
FAILED = "failed.json"  # in a trial's folder: why it fails in every attempt of a search
LATENCY = "latency.json"  # in a folder of its own: milliseconds of a shape, measured once


@dataclass(frozen=True, slots=True)
class Trial:
    """What every trial needs. `step_of` turns values into a student."""

    config: SearchConfig
    step_of: Callable[[Values], Step]
    store: Store
    tracker: Tracker
    parent_run: str
    beam: int = 1  # that latency is measured with


def run_trial(values: dict[str, Any], trial: Trial, search: str, threads: int, device: str) -> None:
    """Body of a trial: train, or find what was trained before; report every validation.

    One that is equal to a running trial waits for that, and finds what it made. One that failed in
    a way that it would fail again is not trained again, although Tune starts its process anew.
    """
    where = torch.device(device)
    prepare(threads=threads, device=where)
    step, store = trial.step_of(values), trial.store
    folder, mirror = store.work_path(step.key), store.mirror(step.key)
    training = TrainingJob(spec_of(step), folder, store.fetch, mirror)
    failed = training.folder / FAILED
    if failed.exists() and (told := read_json(failed))["search"] == search:
        raise StageFailed(told["error"])
    reports = _Reports(trial, step, training)
    with store.alone(step.key) as lease:
        if store.find(step.key) is None:
            try:
                _train(values, trial, step, training, Worker(device=where), lease, threads, reports)
            except FINAL as error:
                training.folder.mkdir(parents=True, exist_ok=True)
                write_json(failed, {"search": search, "error": str(error)})
                raise
    for row in read_history(store.fetch(step.key) / HISTORY):
        reports.hand_on(row)


def _train(
    values: Values,
    trial: Trial,
    step: Step,
    training: TrainingJob,
    worker: Worker,
    lease: Held,
    threads: int,
    reports: "_Reports",
) -> None:
    """Train and publish. All rows of validations are reported but the last one."""
    tracker = trial.tracker
    tags, params = tags_of(step), {**params_of(step), "searched": values}
    run_id = tracker.ensure_run(
        step.name, parent_id=trial.parent_run, run_id=None, tags=tags, params=params
    )

    def report(certain: int) -> None:
        """Hand on what a checkpoint makes certain, but for the last row of a run that is over."""
        last = certain if _is_over(training, certain) else None
        for row in certain_rows(training.folder / HISTORY, certain):
            if row["step"] != last:
                reports.hand_on(row, run_id)

    try:
        tracked = TrackedJob(training, trial.store, run_id, tracker)
        train_and_publish(tracked, worker, threads=threads, told=report, held=lease)
    except Exception:  # not a SystemExit: the driver has ended the run of a trial that it stops
        tracker.finish(run_id, "FAILED")
        raise


def _is_over(job: TrainingJob, step: int) -> bool:
    """Whether the checkpoint of this update is a run's last one."""
    spec = job.spec
    if spec.training.early_stopping is None:
        return step == spec.ends_at
    return newest_progress(job.folder / CHECKPOINTS).is_over(spec.ends_at)


class _Reports:
    """Tells Tune of each validation once, in order, and what the trial has used up to there."""

    def __init__(self, trial: Trial, step: Step, training: TrainingJob) -> None:
        spec = training.spec
        self.trial, self.fingerprint = trial, step.key.fingerprint
        self.tokens = spec.training.tokens_per_update * spec.method.needs().sequences
        self.keeps_best = spec.training.early_stopping is not None
        self.constants = _constants(trial, training)
        self.reported, self.counted, self.seconds = 0, 0, 0.0
        self.best: dict[str, float] | None = None

    def hand_on(self, row: Mapping[str, float], run_id: str = "") -> None:
        """Report a row of the history, if it is a validation that was not reported yet."""
        self._count(row)
        config, step = self.trial.config, int(row["step"])
        if step <= self.reported or config.first.metric not in row:
            return
        self.reported = step
        scores = scores_in({**row, **self.constants}, config.objectives)
        first, sign = config.first.metric, config.first.sign
        if self.keeps_best and self.best and sign * self.best[first] > sign * scores[first]:
            scores = self.best
        self.best = scores
        told = {key_of(n): scores[each.metric] for n, each in enumerate(config.objectives)}
        used = {TOKENS: step * self.tokens, SECONDS: self.seconds}
        tune.report({**told, **used, STEP: step, FINGERPRINT: self.fingerprint, RUN: run_id})

    def _count(self, row: Mapping[str, float]) -> None:
        """Add the time of the updates that a row tells of, once."""
        step, speed = int(row["step"]), row.get("train/tokens_per_second")
        if step > self.counted and speed:
            self.seconds += (step - self.counted) * self.tokens / speed
            self.counted = step


def _constants(trial: Trial, training: TrainingJob) -> dict[str, float]:
    """The objectives that a student's shape decides, and not what it learns."""
    wanted = {each.metric for each in trial.config.objectives} & {"parameters", "latency"}
    if not wanted:
        return {}
    tokenizer = Tokenizer.load(training.fetch(training.spec.tokenizer))
    shape = training.shape(tokenizer)
    found = {"parameters": float(shape.num_params())}
    if "latency" in wanted:
        found["latency"] = _latency(trial, shape, tokenizer, training)
    return found


def _latency(trial: Trial, shape: Shape, tokenizer: Tokenizer, training: TrainingJob) -> float:
    """Milliseconds for a sentence as long as those of dev are on average, measured once."""
    dev = EncodedSplit.load(training.fetch(training.spec.encoded), Split.DEV)
    lengths = [max(1, round(float(side.lengths.mean()))) for side in (dev.src, dev.ref)]
    recipe = {"shape": shape.identity(), "tokens": lengths, "beam": trial.beam}
    key = Key("latency", 1, recipe)
    file = trial.store.work_path(key) / LATENCY
    with trial.store.alone(key):  # trials of one shape have one latency
        if not file.exists():
            src, tgt = lengths
            measured = latency(shape, tokenizer, src_tokens=src, tgt_tokens=tgt, beam=trial.beam)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, {"milliseconds": measured})
    return float(read_json(file)["milliseconds"])
