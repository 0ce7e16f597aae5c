"""Making the steps of a plan: what exists is left alone, the rest is made by the job's shape."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from itertools import groupby

from kdray.cluster.address import cluster_address
from kdray.errors import InputError, StageFailed
from kdray.fit.lengths import check_dev, check_sources, check_train
from kdray.fit.spec import TrainingSpec
from kdray.jobs import NOTES, Phased, Sharded, Whole
from kdray.plan.step import (
    ENCODED,
    EXPORT,
    GATES,
    SCORES,
    STUDENT,
    TEACHER_COMPLEXITY,
    Step,
    spec_of,
    unique,
    wanted,
)
from kdray.runner.models import train_models
from kdray.runner.phases import is_large, make_in_phases
from kdray.runner.shards import make_sharded
from kdray.runner.study import Study
from kdray.runner.turns import turns
from kdray.schema import Split
from kdray.scoring.round_trip import LONGEST, RoundTripJob
from kdray.scoring.scorer import ScorerFailed
from kdray.text.encoded import EncodedSplit


def make_steps(study: Study, steps: Sequence[Step]) -> None:
    """Make all steps that are missing and wanted, in order, neighbours side by side.

    A student that fails is noted, and the others go on, and so are scores, measures of a teacher,
    readings of a gate, scorers from outside, and exports; every other failure ends the command.

    Raises:
        KdrayError: a step could not be finished; what was made is kept.
    """
    names = wanted(steps, study.is_made)
    missing = [
        step for step in steps if step.key.fingerprint in names and not study.is_made(step.key)
    ]
    if any(map(_needs_ray, missing)):  # what is wrong with Ray is known before corpora are read
        _import_ray()
        if cluster_address(study.experiment.execution) is not None:
            study.start_ray()
    if any(step.stage == STUDENT for step in missing):
        for note in study.plan.notes():
            study.display.note(note)
    for _, group in groupby(steps, key=lambda step: step.heading):
        together = list(group)
        missing = [
            step
            for step in unique(together)
            if step.key.fingerprint in names
            and not study.is_made(step.key)
            and all(map(study.is_made, step.reads))  # they are, unless a student failed
        ]
        with closing(turns(study, missing)) as held:
            for mine in held:
                make = _way_of(mine[0])
                make(study, mine)
        _check_lengths(study, made=together)


def _import_ray() -> None:
    """Import it, which reads variables of the environment.

    Raises:
        InputError: one of them has a value that it cannot read.
    """
    try:
        import kdray.cluster.session  # noqa: F401
    except ValueError as error:
        told = ", ".join(sorted(name for name in os.environ if name.startswith("RAY_")))
        raise InputError(
            f"Ray cannot be imported: {error}; it reads {told or 'its variables'} from the "
            "environment: correct the one that has this value, or unset it"
        ) from None


def _needs_ray(step: Step) -> bool:
    return not (isinstance(step.job, Whole) and step.job.is_light)


Make = Callable[[Study, Sequence[Step]], None]
"""Makes the missing ones of steps that stand together in the plan, under one heading."""


def _way_of(step: Step) -> Make:
    """How a step is made, by the shape of its job."""
    match step.job:
        case TrainingSpec():
            return train_models
        case Sharded():
            return make_sharded
        case Whole(is_light=True):
            return _make_here
        case Whole():
            return _make_on_cluster


def _make_here(study: Study, steps: Sequence[Step]) -> None:
    """One after another, in this process."""
    for number, step in enumerate(steps, start=1):
        try:
            _make_light(study, step)
        except ScorerFailed as failure:
            _note_scorer(study, step, failure, left=len(steps) - number)
            if failure.hung:  # for the next model it would again
                break


def _make_light(study: Study, step: Step) -> None:
    study.display.stage(step.heading, step.detail)
    job, store = step.job, study.store
    assert isinstance(job, Whole), "the caller has looked"
    if isinstance(job, Phased) and is_large(job, study):
        artifact = make_in_phases(study, step.key, job)
    else:
        artifact = store.publish(step.key, lambda folder: job.make(folder, store.fetch, threads=1))
    for name, verb in (("pairs", "pairs"), ("drops", "dropped")):
        counts = artifact.counts.get(name)
        if isinstance(counts, Mapping) and any(counts.values()):
            parts = ", ".join(f"{part} {count}" for part, count in counts.items() if count)
            study.display.note(f"{verb}: {parts}")
    for note in artifact.counts.get(NOTES, ()):
        study.display.note(note)


def _note_scorer(study: Study, step: Step, failure: ScorerFailed, *, left: int) -> None:
    """Say why a scorer did not run through, and keep what it said; `left` models follow."""
    kept, others = "", ""
    if failure.stderr:
        path = study.store.work_path(step.key) / "stderr.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(failure.stderr, encoding="utf-8")
        kept = f", all of it is in {path}"
    if failure.hung and left:
        others = f"; it is not tried on the {left} models that follow"
    noted = StageFailed(f"{step.name}: {failure}{kept}{others}; repair the scorer and run again")
    study.failures[step.key.fingerprint] = noted
    study.display.note(str(noted))


def _make_on_cluster(study: Study, steps: Sequence[Step]) -> None:
    """Side by side, each on CPUs of its own, so that speeds compare."""
    from kdray.cluster.task import evaluation_threads, make_each  # with Ray

    study.display.stage(steps[0].heading, f"{len(steps)} models")
    study.start_ray()
    threads = evaluation_threads(study.experiment.execution.evaluation_cpus)
    made = make_each(steps, store=study.store, threads=threads)
    with study.display.bars() as bars, closing(made):
        bars.move("models", 0, len(steps))
        for number, (step, failure) in enumerate(made, start=1):
            if failure is not None:
                if step.stage not in (SCORES, TEACHER_COMPLEXITY, GATES, EXPORT):
                    raise failure
                repair = "; repair what writes this form and run again"
                noted = StageFailed(f"{failure}{repair if step.stage == EXPORT else ''}")
                study.failures[step.key.fingerprint] = noted
                study.display.note(str(noted))
            elif (artifact := study.store.find(step.key)) is not None:
                for note in artifact.counts.get(NOTES, ()):
                    study.display.note(note)
            bars.move("models", number, len(steps), step.name)


def _check_lengths(study: Study, *, made: Sequence[Step]) -> None:
    """Refuse text that is too long for a model, before the first model is trained.

    Raises:
        DataError: dev or a test holds such a line, or no training pair is short enough.
    """
    trainings = [
        (step.name, spec_of(step))
        for step in study.plan.steps
        if isinstance(step.job, TrainingSpec)
    ]
    for step in unique(made):
        if isinstance(step.job, RoundTripJob):
            artifact = study.store.find(step.key)
            assert artifact is not None, "it was made"
            for name, spec in trainings:
                if spec.tokenizer == step.job.tokenizer:
                    check_sources(artifact.counts[LONGEST], model=name, spec=spec)
        elif step.stage == ENCODED:
            folder = study.store.fetch(step.key)
            dev, train = (EncodedSplit.load(folder, split) for split in (Split.DEV, Split.TRAIN))
            for name, spec in trainings:
                if spec.encoded == step.key:
                    check_dev(dev, model=name, max_length=spec.model.max_length)
                    check_train(train, model=name, spec=spec)
