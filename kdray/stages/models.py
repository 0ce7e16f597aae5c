"""Models: the teacher and the students, trained side by side as far as the cluster has room."""

from collections.abc import Sequence
from pathlib import Path

from kdray.artifacts import Key
from kdray.cluster.train import TrackedJob, train
from kdray.errors import StageFailed
from kdray.fit.checkpoint import HISTORY, newest_progress, read_history
from kdray.fit.job import TrainingJob
from kdray.plan import ModelPlan
from kdray.progress import Bars
from kdray.stages.study import Study
from kdray.stages.text import students_tokenizer


def make_teacher(study: Study) -> None:
    """Train the teacher if the study has one of its own.

    Raises:
        StageFailed: it could not be trained.
    """
    if study.plan.teacher is not None:
        failures = _make_models(study, [study.plan.teacher], "Teacher")
        if failures:
            raise failures[0]


def make_students(study: Study) -> None:
    """Train all students. One that fails is noted, and the others go on.

    Raises:
        StageFailed: none could be trained.
    """
    students = study.plan.students
    failures = _make_models(study, students, "Students")
    study.notes += [str(failure) for failure in failures]
    if len(failures) == len(students):
        raise failures[0]


def teacher_path(study: Study) -> Path:
    """Folder of the teacher's weights, shape and tokenizer."""
    if study.plan.brought is not None:
        return study.plan.brought
    assert study.plan.teacher is not None, "the recipe was checked for this"
    return study.path(study.plan.teacher.key)


def training_job(study: Study, model: ModelPlan) -> TrainingJob:
    """What a worker is given to train this model."""
    plan, recipe = study.plan, study.recipe
    hypotheses = plan.recoded or plan.hypotheses
    distributions = recipe.signals.distributions
    return TrainingJob(
        model=model.model,
        method=model.method,
        training=model.training,
        seed=model.seed,
        corpus=study.path(plan.corpus),
        tokenizer=students_tokenizer(study),
        encoded=study.path(plan.encoded),
        folder=study.store.work_path(model.key),
        hypotheses=None if hypotheses is None else study.path(hypotheses),
        distributions={view: study.path(key) for view, key in plan.distributions.items()},
        temperatures=() if distributions is None else distributions.temperatures,
        bleu_tokenize=recipe.evaluation.bleu_tokenize,
    )


def model_run(study: Study, model: ModelPlan) -> str:
    """The MLflow run that follows this model. -> its id."""
    return study.runs.ensure(
        model.key.fingerprint,
        name=model.name,
        tags={
            "kdray.role": "teacher" if model is study.plan.teacher else "student",
            "kdray.method": model.method.kind,
            "kdray.fingerprint": model.key.fingerprint,
        },
        params={
            "method_name": model.method_name,
            "size": model.size,
            "seed": model.seed,
            "model": model.model.model_dump(mode="json"),
            "method": model.method.model_dump(mode="json"),
            "training": model.training.model_dump(mode="json"),
        },
    )


def _make_models(study: Study, models: Sequence[ModelPlan], title: str) -> list[StageFailed]:
    missing = {model.name: model for model in models if not study.is_made(model.key)}
    if not missing:
        return []
    made = len(models) - len(missing)
    study.display.stage(title, f"{len(missing)} to train" + (f", {made} cached" if made else ""))
    study.start_ray()
    spec = study.runs.tracker.spec()
    jobs = {
        name: TrackedJob(training_job(study, model), model_run(study, model), spec)
        for name, model in missing.items()
    }
    failures: list[StageFailed] = []
    with study.display.bars() as bars:
        watch = _Watch(bars, jobs)
        for name, failure in train(jobs, execution=study.experiment.execution, watch=watch):
            if failure is None:
                watch()
                _publish(study, jobs[name].job, missing[name].key)
            else:
                study.runs.tracker.finish(jobs[name].run_id, "FAILED")
                study.display.note(str(failure))
                failures.append(failure)
    return failures


def _publish(study: Study, job: TrainingJob, key: Key) -> None:
    progress = newest_progress(job.folder / "checkpoints")
    if progress.step != job.training.updates:
        raise StageFailed(
            f"{job.folder}: training ended at update {progress.step} of {job.training.updates} "
            "without an error; run the same command again to continue it"
        )
    study.store.publish(key, lambda folder: job.publish(folder, progress))


class _Watch:
    """Shows how far training runs are, from the histories that their workers write."""

    def __init__(self, bars: Bars, jobs: dict[str, TrackedJob]) -> None:
        self.bars = bars
        self.jobs = {name: tracked.job for name, tracked in jobs.items()}

    def __call__(self) -> None:
        for name, job in self.jobs.items():
            rows = read_history(job.folder / HISTORY)
            if rows:
                note = _latest(rows, "train/tokens_per_second", "{:.0f} tokens/s")
                note += _latest(rows, "dev/bleu", "  dev BLEU {:.1f}")
                self.bars.move(name, int(rows[-1]["step"]), job.training.updates, note)


def _latest(rows: Sequence[dict[str, float]], metric: str, form: str) -> str:
    values = [row[metric] for row in rows if metric in row]
    return form.format(values[-1]) if values else ""
