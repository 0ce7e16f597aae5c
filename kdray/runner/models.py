"""Trainings: of a teacher or of students, in lanes that go on side by side."""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from kdray.cell import TEACHER
from kdray.errors import StageFailed
from kdray.fit.checkpoint import newest_progress
from kdray.fit.history import HISTORY, certain_rows, read_history, rows_in
from kdray.fit.job import TrainingJob
from kdray.fit.trunk import CHECKPOINTS
from kdray.plan.step import STUDENT, Step, params_of, spec_of, tags_of, unique
from kdray.progress import Bars
from kdray.runner.study import Study

if TYPE_CHECKING:  # it imports Ray, which a study that only reports does without
    from kdray.cluster.train import PlannedTraining

KEPT_SECONDS = 10.0  # between two looks at what workers on other nodes have kept
BAR_NOTES = (
    ("train/tokens_per_second", "{:.0f} tokens/s"),
    ("dev/bleu", "  dev BLEU {:.1f}"),
    ("dev/averaged/bleu", ", averaged {:.1f}"),
)
"""What a bar says of the newest value of a metric."""


def train_models(study: Study, missing: Sequence[Step]) -> None:
    """Train what is missing of the steps that the plan has under one heading.

    How wide a run is depends on how many there are together, and not on how many are missing.

    Raises:
        StageFailed: no scenario has its teacher, or no student can be trained any more.
    """
    from kdray.cluster.lanes import train

    heading = missing[0].heading
    every = list(unique(step for step in study.plan.steps if step.heading == heading))
    made = sum(study.is_made(step.key) for step in every)
    cached = f", {made} cached" if made else ""
    study.display.stage(heading, f"{len(missing)} to train{cached}")
    for line in _forms_read(study) if missing[0].stage != TEACHER else ():
        study.display.note(line)
    study.start_ray()
    steps = {step.name: step for step in missing}
    trainings = {name: planned_training(study, step) for name, step in steps.items()}
    with study.display.bars() as bars:
        watch = _Watch(study, bars, trainings)
        execution, runs = study.experiment.execution, len(every)
        ends = train(trainings, execution=execution, runs=runs, folder=study.work, watch=watch)
        with closing(ends):
            for name, failure in ends:
                if failure is None and not study.is_made(steps[name].key):
                    place = study.store.location
                    failure = StageFailed(f"{name}: trained, but it is not in {place}")
                if failure is None:
                    watch.ended(name, steps[name])
                else:
                    _fail(study, steps[name], trainings[name].job, failure)
    scenarios = study.plan.scenarios
    without_teacher = [any(map(study.is_lost, scenario.of(TEACHER))) for scenario in scenarios]
    if all(without_teacher) or all(map(study.is_lost, study.plan.of(STUDENT))):
        raise next(iter(study.failures.values()))


def planned_training(study: Study, step: Step) -> "PlannedTraining":
    """What a worker is given to train a model."""
    from kdray.cluster.train import PlannedTraining

    store = study.store
    folder, mirror = store.work_path(step.key), store.mirror(step.key)
    job = TrainingJob(spec_of(step), folder, store.fetch, mirror)
    run = study.runs.planned(step.key.fingerprint, step.name, tags_of(step), params_of(step))
    return PlannedTraining(job, study.store, run)


def model_run(study: Study, step: Step, *, began: float | None = None) -> str:
    """The MLflow run that follows this model; a new one begins then, or now. -> its id."""
    fingerprint, tags, params = step.key.fingerprint, tags_of(step), params_of(step)
    return study.runs.ensure(fingerprint, step.name, tags, params, began=began)


def _forms_read(study: Study) -> list[str]:
    """Which form of distributions each method reads, where it could have read another, in words."""
    lines = list[str]()
    for step in study.plan.of(STUDENT):
        config = study.plan.scenario(step).recipe.signals
        for spec in spec_of(step).chain():
            needs = spec.method.needs()
            for view, usable in needs.distributions.items():
                if step.cell and len(set(usable) & set(config.forms(view))) > 1:
                    form = config.best(needs, view)
                    lines.append(f"{step.cell.method} reads the teacher on {view} from {form}")
    return list(dict.fromkeys(lines))


def _fail(study: Study, step: Step, job: TrainingJob, failure: StageFailed) -> None:
    """Note why a training failed, in its run in MLflow too."""
    tracker, run_id = study.runs.tracker, model_run(study, step)
    if job.mirror is not None:
        job.mirror.pull()
    last = job.first_step() + newest_progress(job.folder / CHECKPOINTS).step
    tracker.log_history(run_id, certain_rows(job.folder / HISTORY, last))
    tracker.finish(run_id, "FAILED")
    study.display.note(str(failure))
    study.failures[step.key.fingerprint] = failure


class _Watch:
    """Shows how far trainings are, from the histories of their workers."""

    def __init__(
        self, study: Study, bars: Bars, trainings: "Mapping[str, PlannedTraining]"
    ) -> None:
        self.store, self.bars, self.trainings = study.store, bars, trainings
        self.kept = dict[str, tuple[float, Sequence[dict[str, float]]]]()  # when it was read

    def __call__(self, names: Collection[str]) -> None:
        for name in names:
            job = self.trainings[name].job
            rows = read_history(job.folder / HISTORY) or self._kept(name, job)
            if rows:
                done = int(rows[-1]["step"]) - job.first_step()
                self.bars.move(name, done, job.spec.ends_at, _note(rows))

    def _kept(self, name: str, job: TrainingJob) -> Sequence[dict[str, float]]:
        """The history that a worker on another node has kept with its newest checkpoint."""
        if job.mirror is None:
            return []
        read, rows = self.kept.get(name, (-math.inf, []))
        if time.monotonic() - read > KEPT_SECONDS:
            rows = rows_in((job.mirror.read(HISTORY) or b"").decode())
            self.kept[name] = time.monotonic(), rows
        return rows

    def ended(self, name: str, step: Step) -> None:
        """Show that a training is over: it may have stopped early."""
        artifact = self.store.find(step.key)
        assert artifact is not None, "its first worker has published it"
        rows = read_history(self.store.fetch(step.key) / HISTORY)
        counts, note, ends_at = artifact.counts, _note(rows), spec_of(step).ends_at
        if counts["stopped_early"]:
            note += f"  stopped early, best at {counts['chosen_update']}"
        self.bars.move(name, ends_at, ends_at, note)


def _note(rows: Sequence[Mapping[str, float]]) -> str:
    latest = {metric: value for row in rows for metric, value in row.items()}
    return "".join(form.format(latest[metric]) for metric, form in BAR_NOTES if metric in latest)
