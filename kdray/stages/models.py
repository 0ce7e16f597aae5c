"""Models: the teacher and the students, trained side by side as far as the cluster has room."""

from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from kdray.artifacts import Key, Store
from kdray.cluster.train import TrackedJob, train
from kdray.errors import StageFailed
from kdray.fit.assemble import Signals
from kdray.fit.checkpoint import Progress, newest_progress
from kdray.fit.history import HISTORY, certain_rows, read_history
from kdray.fit.job import Origin, TrainingJob
from kdray.fit.trunk import CHECKPOINTS, Trunk
from kdray.plan import ModelPlan
from kdray.progress import Bars
from kdray.stages.study import Study
from kdray.stages.text import students_tokenizer


def make_teacher(study: Study) -> None:
    """Train the teachers that the study does not bring.

    Raises:
        StageFailed: one could not be trained.
    """
    teachers = study.plan.teachers
    failures = _make_models(study, teachers, "Teacher", runs=len(teachers))
    if failures:
        raise next(iter(failures.values()))


def make_students(study: Study) -> None:
    """Train all students. One that fails is noted, and the others go on.

    Raises:
        StageFailed: none could be trained.
    """
    students = study.plan.students
    chains = [list(student.chain()) for student in students]
    needed = {model.key.fingerprint for student in students for model in _unmade(study, student)}
    failures: dict[str, StageFailed] = {}
    for depth in range(max(map(len, chains))):
        wave = [
            chain[depth] for chain in chains if depth < len(chain) and not _lost(chain, failures)
        ]
        wanted = [m for m in wave if m in students or m.key.fingerprint in needed]
        title = "Students" if depth == 0 else f"Students, part {depth + 1}"
        failures |= _make_models(study, wanted, title, runs=len(wave))
    unmade = [chain for chain in chains if not study.is_made(chain[-1].key)]
    for fingerprint, failure in failures.items():
        lost = [chain[-1].name for chain in unmade if _lost(chain, {fingerprint})]
        without = f"; so there is no {', '.join(lost)}" if len(lost) > 1 else ""
        study.notes.append(f"{failure}{without}")
    if len(unmade) == len(students):
        raise next(iter(failures.values()))


def teacher_paths(study: Study) -> tuple[Path, ...]:
    """Folders of the teachers' weights, shapes and tokenizers."""
    trained = tuple(study.path(model.key) for model in study.plan.teachers)
    return trained or study.plan.brought


def training_job(study: Study, model: ModelPlan) -> TrainingJob:
    """What a worker is given to train this model."""
    plan = study.plan
    return TrainingJob(
        model=model.model,
        method=model.method,
        training=model.training,
        seed=model.seed,
        corpus=study.path(plan.corpus),
        tokenizer=students_tokenizer(study),
        encoded=study.path(plan.encoded),
        folder=study.store.work_path(model.key),
        signals=stored_signals(model, study.store, teachers=teacher_paths(study)),
        start=None if model.start is None else study.path(model.start.key),
        origin=origin_of(model, teachers=teacher_paths(study)),
        trunk=_trunk(study, model),
        until=model.until,
        bleu_tokenize=study.recipe.evaluation.bleu_tokenize,
    )


def stored_signals(model: ModelPlan, store: Store, *, teachers: tuple[Path, ...]) -> Signals:
    """Where a model finds what its method reads."""
    reads = model.signals
    return Signals(
        hypotheses=None if reads.hypotheses is None else store.path(reads.hypotheses),
        all_hypotheses=reads.all_hypotheses,
        distributions={
            view: (form, store.path(key)) for view, (form, key) in reads.distributions.items()
        },
        teachers=teachers if reads.online else (),
    )


def origin_of(model: ModelPlan, *, teachers: tuple[Path, ...]) -> Origin | None:
    """What a model starts from, if it starts from the teacher: off a trunk its trunk does."""
    if model.inherits is None or model.trunk is not None:
        return None
    return Origin(teachers[0], model.inherits.layers)


def model_run(study: Study, model: ModelPlan) -> str:
    """The MLflow run that follows this model. -> its id."""
    return study.runs.ensure(
        model.key.fingerprint,
        name=model.name,
        tags={
            "kdray.role": _role(study, model),
            "kdray.method": model.method_kind,
            "kdray.fingerprint": model.key.fingerprint,
        },
        params={
            "method_name": model.method_name,
            "size": model.size,
            "seed": model.seed,
            "model": model.model.model_dump(mode="json"),
            "method": model.method.model_dump(mode="json"),
            "training": model.training.model_dump(mode="json"),
            **({} if model.inherits is None else {"initial": model.inherits.recipe()}),
        },
    )


def _role(study: Study, model: ModelPlan) -> str:
    if model.until is not None:
        return "trunk"
    return "teacher" if model in study.plan.teachers else "student"


def _trunk(study: Study, model: ModelPlan) -> Trunk | None:
    """What a model goes on from, optimiser and all."""
    trunk = model.trunk
    if trunk is None:
        return None
    return Trunk(study.path(trunk.key), trunk.ends_at, same_method=trunk.method == model.method)


def _unmade(study: Study, model: ModelPlan) -> Iterator[ModelPlan]:
    """What has to be trained for a model: nothing if it is made."""
    if not study.is_made(model.key):
        yield model
        if model.before is not None:
            yield from _unmade(study, model.before)


def _lost(chain: Sequence[ModelPlan], failures: Container[str]) -> bool:
    """Whether one of the models that follow one another has failed."""
    return any(model.key.fingerprint in failures for model in chain)


def _make_models(
    study: Study, models: Sequence[ModelPlan], title: str, *, runs: int
) -> dict[str, StageFailed]:
    """Train what is missing; one run for models that are the same. -> failures by fingerprint.

    `runs` counts with them those that nobody needs any more: a width depends on it.
    """
    missing: dict[str, ModelPlan] = {}
    for model in models:
        if not study.is_made(model.key):
            missing.setdefault(model.key.fingerprint, model)
    if not missing:
        return {}
    made = len({model.key.fingerprint for model in models}) - len(missing)
    study.display.stage(title, f"{len(missing)} to train" + (f", {made} cached" if made else ""))
    study.start_ray()
    spec = study.runs.tracker.spec()
    plans = {model.name: model for model in missing.values()}
    jobs = {
        name: TrackedJob(training_job(study, model), model_run(study, model), spec)
        for name, model in plans.items()
    }
    failures: dict[str, StageFailed] = {}
    with study.display.bars() as bars:
        watch = _Watch(bars, jobs)
        execution = study.experiment.execution
        for name, failure in train(jobs, execution=execution, runs=runs, watch=watch):
            key = plans[name].key
            if failure is None:
                progress = _finished(jobs[name].job)
                watch.ended(name, progress)
                _publish(study, jobs[name].job, key, progress)
                rows = read_history(study.path(key) / HISTORY)
                study.runs.finish_model(jobs[name].run_id, rows, {})  # scores are added later
            else:
                folder = jobs[name].job.folder
                rows = certain_rows(folder / HISTORY, newest_progress(folder / CHECKPOINTS).step)
                study.runs.fail_model(jobs[name].run_id, rows)
                study.display.note(str(failure))
                failures[key.fingerprint] = failure
    return failures


def _finished(job: TrainingJob) -> Progress:
    """Where a run stands that says it is over."""
    progress = newest_progress(job.folder / CHECKPOINTS)
    if not progress.is_over(job.ends_at):
        raise StageFailed(
            f"{job.folder}: training ended at update {progress.step} of {job.ends_at} "
            "without an error; run the same command again to continue it"
        )
    return progress


def _publish(study: Study, job: TrainingJob, key: Key, progress: Progress) -> None:
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
                done = int(rows[-1]["step"]) - job.first_step()
                self.bars.move(name, done, job.ends_at, _note(rows))

    def ended(self, name: str, progress: Progress) -> None:
        """Show that a run is over: it may have stopped early."""
        job = self.jobs[name]
        rows, best = read_history(job.folder / HISTORY), progress.selection
        early = progress.step < job.ends_at
        note = f"  stopped early, best at {best.step}" if early else ""
        self.bars.move(name, progress.step, progress.step, _note(rows) + note)


def _note(rows: Sequence[dict[str, float]]) -> str:
    note = _latest(rows, "train/tokens_per_second", "{:.0f} tokens/s")
    note += _latest(rows, "dev/bleu", "  dev BLEU {:.1f}")
    return note + _latest(rows, "dev/averaged/bleu", ", averaged {:.1f}")


def _latest(rows: Sequence[dict[str, float]], metric: str, form: str) -> str:
    values = [row[metric] for row in rows if metric in row]
    return form.format(values[-1]) if values else ""
