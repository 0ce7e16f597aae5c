"""Making the steps whose jobs are cut into shards: all through one pool, each joined when whole."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdray.artifacts import Key
from kdray.jobs import Continuing, Sharded
from kdray.plan.step import Step
from kdray.runner.pace import Pace
from kdray.runner.study import Study
from kdray.storage.disk import disk_errors
from kdray.teacher.earlier import note_earlier
from kdray.teacher.shards import PLAN, ShardPlan
from kdray.tracking import RunStatus
from kdray.tracking.contract import FINGERPRINT

if TYPE_CHECKING:  # it imports Ray, which a study that only reports does without
    from kdray.cluster.pool import ShardWork

BUDGETS = "batches"
"""The folder, in a storage, of what is known of the size of batches."""


def make_sharded(study: Study, steps: Sequence[Step]) -> None:
    """All through one pool of processes; each step is published when its last shard is made."""
    use_gpu = study.experiment.execution.use_gpu
    devices = ["cuda" if use_gpu and _sharded(step).on_gpu else "cpu" for step in steps]
    for device in dict.fromkeys(devices):
        works = [
            Decoding(step, _shard_work(study, step, device))
            for step, of_step in zip(steps, devices, strict=True)
            if of_step == device
        ]
        _make_works(study, works, heading=steps[0].heading)


@dataclass(frozen=True, slots=True)
class Decoding:
    """A step, and its shards."""

    step: Step
    work: "ShardWork"

    @property
    def rows(self) -> int:
        """Of all shards."""
        return sum(stop - start for start, stop in self.work.plan.ranges)

    @property
    def by_teacher(self) -> bool:
        """Whether a teacher works, and not only a choice among what it has made."""
        return "teacher" in self.step.key.inputs


def _sharded(step: Step) -> Sharded:
    assert isinstance(step.job, Sharded), "the caller has looked"
    return step.job


def _shard_work(study: Study, step: Step, device: str) -> "ShardWork":
    """Prepare a step, and see which of its shards are there already."""
    from kdray.cluster.pool import ShardWork

    job, store = _sharded(step), study.store
    work = store.work_path(step.key)
    with disk_errors(work):
        work.mkdir(parents=True, exist_ok=True)
        rows = job.prepare(work, store.fetch, device=device)
        earlier: tuple[Key, ...] = ()
        if isinstance(job, Continuing):
            contents = store.contents(step.key.stage)
            some = [Key(step.key.stage, **c) for c in contents if job.continues(c)]
            earlier = note_earlier(work, some)
        shard_rows, folder = study.experiment.execution.shard_pairs, work / "shards"
        if (parts := store.parts(step.key, folder)) is not None:
            parts.bring_file(PLAN)
        plan = ShardPlan.open(folder, rows=rows, shard_rows=shard_rows)
        drop_damaged(study, plan)
        if parts is not None:
            parts.keep_file(PLAN)
            parts.bring()
    budget = _budget(study, step.key, device)
    return ShardWork(job, plan, store, work, device, budget, parts, earlier)


def drop_damaged(study: Study, plan: ShardPlan) -> None:
    """Have shards that were damaged since they were made missing, and say so."""
    for wrong in plan.drop_damaged():
        study.display.note(f"{wrong}; this part of the work is made anew")


def _make_works(study: Study, works: Sequence[Decoding], *, heading: str) -> None:
    """Make the shards that are missing, and publish every step when it has all of them."""
    from kdray.cluster.pool import make_shards

    missing = [set(each.work.plan.missing()) for each in works]
    rows = sum(each.rows for each in works)
    left = [
        sum(each.work.plan.rows(index) for index in lost)
        for each, lost in zip(works, missing, strict=True)
    ]
    shards = sum(map(len, missing))
    study.display.stage(heading, f"{sum(left)} of {rows} pairs in {shards} shards")
    study.start_ray()
    for each, lost in zip(works, missing, strict=True):
        if not lost:  # of a command that was stopped before it had put them together
            _join(study, each)
    works = [each for each, lost in zip(works, missing, strict=True) if lost]
    left = [count for count, lost in zip(left, missing, strict=True) if lost]
    missing = [lost for lost in missing if lost]
    pool = make_shards([each.work for each in works], execution=study.experiment.execution)
    paces = [Pace.of(each.rows, left=of_it) for each, of_it in zip(works, left, strict=True)]
    whole = Pace.of(rows, left=sum(left))
    with study.display.bars() as bars, _runs(study, works, missing) as runs:
        bars.move("pairs", whole.done, rows)
        for number, index, worker in pool:
            each = works[number]
            done, counts = each.work.plan.rows(index), each.work.counts(index)
            for pace in (whole, paces[number]):
                pace.add(done, tokens=counts.get("tokens", 0), worker=worker)
            bars.move("pairs", whole.done, rows, whole.note)
            study.runs.tracker.log_history(runs.get(number, ""), [paces[number].row()])
            missing[number].discard(index)
            if not missing[number]:
                _join(study, each)


@contextmanager
def _runs(
    study: Study, works: Sequence[Decoding], missing: Sequence[set[int]]
) -> Iterator[Mapping[int, str]]:
    """A run in MLflow for each step that a teacher works for; its id by the place of the step."""
    runs = {
        number: study.runs.ensure(
            each.step.key.fingerprint,
            each.step.name,
            {"kdray.role": each.step.stage, FINGERPRINT: each.step.key.fingerprint},
            {"stage": each.step.key.stage, **each.step.key.recipe, "pairs": each.rows},
        )
        for number, each in enumerate(works)
        if each.by_teacher and missing[number]
    }
    status: RunStatus = "FINISHED"
    try:
        yield runs
    except BaseException as error:
        status = "FAILED" if isinstance(error, Exception) else "KILLED"
        raise
    finally:
        for number, run in runs.items():
            study.runs.tracker.finish(run, "FINISHED" if not missing[number] else status)


def _join(study: Study, each: Decoding) -> None:
    """Put the shards of a step together and publish it."""
    work, job, fetch = each.work, _sharded(each.step), study.store.fetch
    work.bring()
    work.plan.prove()
    study.store.publish(
        each.step.key,
        lambda folder: job.join(work.plan.finished(), work.plan.counts(), folder, fetch),
    )


def _budget(study: Study, key: Key, device: str) -> Path | None:
    """Where it is kept how wide batches may be: for a teacher, its way to work and a device."""
    if "teacher" not in key.inputs:
        return None
    way = Key("batches", 1, {"stage": key.stage, **key.recipe}, {"teacher": key.inputs["teacher"]})
    return study.store.root / BUDGETS / f"{way.fingerprint}-{device}.json"
