"""Making the steps of a plan: what exists is left alone, the rest is made by the job's shape."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from kdray.cluster.session import cluster_address
from kdray.cluster.shards import ShardWork, make_shards
from kdray.cluster.whole import evaluation_threads, make_whole
from kdray.fit.spec import TrainingSpec
from kdray.fit.validation import check_dev
from kdray.jobs import Sharded, Whole
from kdray.plan.step import ENCODED, Step, unique, wanted
from kdray.runner.study import Study
from kdray.runner.training import train_models
from kdray.schema import Split
from kdray.teacher.shards import ShardPlan
from kdray.text.encoded import EncodedSplit


def make_steps(study: Study, steps: Sequence[Step]) -> None:
    """Make all steps that are missing and wanted, in order, neighbours side by side.

    A student that fails is noted, and the others go on; every other failure ends the command.

    Raises:
        KdrayError: a step could not be finished; what was made is kept.
    """
    names = wanted(steps, study.is_made)
    missing = [
        step for step in steps if step.key.fingerprint in names and not study.is_made(step.key)
    ]
    if any(map(_needs_ray, missing)) and cluster_address(study.experiment.execution) is not None:
        study.start_ray()  # a cluster that does not answer should be known before corpora are read
    for _, group in groupby(steps, key=lambda step: step.heading):
        together = list(group)
        missing = [
            step
            for step in unique(together)
            if step.key.fingerprint in names and _can_be_made(study, step)
        ]
        match missing[0].job if missing else None:
            case TrainingSpec():
                train_models(study, missing, together)
            case Sharded():
                for step in missing:
                    _make_shards(study, step)
            case Whole(is_light=True):
                for step in missing:
                    _make_here(study, step)
            case Whole():
                _make_on_cluster(study, missing)
        _check_lengths(study, steps, made=together)


def _needs_ray(step: Step) -> bool:
    return not (isinstance(step.job, Whole) and step.job.is_light)


def _can_be_made(study: Study, step: Step) -> bool:
    """Whether it is missing, and nothing that it reads is."""
    return not study.is_made(step.key) and all(map(study.is_made, step.reads))


def _make_here(study: Study, step: Step) -> None:
    study.display.stage(step.heading, step.detail)
    job, store = step.job, study.store
    assert isinstance(job, Whole), "the caller has looked"
    artifact = store.publish(step.key, lambda folder: job.make(folder, store.fetch, threads=1))
    for name, verb in (("pairs", "pairs"), ("drops", "dropped")):
        counts = artifact.counts.get(name)
        if isinstance(counts, Mapping) and any(counts.values()):
            parts = ", ".join(f"{part} {count}" for part, count in counts.items() if count)
            study.display.note(f"{verb}: {parts}")


def _make_on_cluster(study: Study, steps: Sequence[Step]) -> None:
    """One after another, each with all CPUs of a node, so that speeds compare."""
    study.display.stage(steps[0].heading, f"{len(steps)} models")
    study.start_ray()
    threads = evaluation_threads(study.experiment.execution.evaluation_cpus)
    with study.display.bars() as bars:
        bars.move("models", 0, len(steps))
        for number, step in enumerate(steps, start=1):
            make_whole(step, store=study.store, threads=threads)
            bars.move("models", number, len(steps), step.name)


def _make_shards(study: Study, step: Step) -> None:
    job, store, execution = step.job, study.store, study.experiment.execution
    assert isinstance(job, Sharded), "the caller has looked"
    work = store.work_path(step.key)
    work.mkdir(parents=True, exist_ok=True)
    device = "cuda" if execution.use_gpu and job.on_gpu else "cpu"
    rows = job.prepare(work, store.fetch, device=device)
    plan = ShardPlan.open(work / "shards", rows=rows, shard_rows=execution.shard_pairs)
    missing = plan.missing()
    left = sum(stop - start for start, stop in (plan.ranges[i] for i in missing))
    study.display.stage(step.heading, f"{left} of {rows} pairs in {len(missing)} shards")
    study.start_ray()
    with study.display.bars() as bars:
        made = rows - left
        bars.move("pairs", made, rows)

        def done(pairs: int) -> None:
            nonlocal made
            made += pairs
            bars.move("pairs", made, rows)

        make_shards(ShardWork(job, plan, store, work, device), execution=execution, done=done)
    store.publish(
        step.key, lambda folder: job.join(plan.finished(), plan.counts(), folder, store.fetch)
    )


def _check_lengths(study: Study, steps: Sequence[Step], made: Sequence[Step]) -> None:
    """Refuse dev pairs that are too long for a model, before the first model is trained.

    Raises:
        DataError: dev holds one.
    """
    ids = {step.key.fingerprint: step.key for step in made if step.stage == ENCODED}
    for fingerprint, key in ids.items():
        dev = EncodedSplit.load(study.store.fetch(key), Split.DEV)
        for step in steps:
            job = step.job
            if isinstance(job, TrainingSpec) and job.encoded.fingerprint == fingerprint:
                check_dev(dev, model=step.name, max_length=job.model.max_length)
