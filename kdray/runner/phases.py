"""Making what is large in phases, each by the pool of processes that also makes shards."""

from kdray.artifacts import Artifact, Key
from kdray.jobs import Phased
from kdray.runner.shards import drop_damaged
from kdray.runner.study import Study
from kdray.storage.disk import disk_errors
from kdray.teacher.shards import ShardPlan

_MB = 1e6


def is_large(job: Phased, study: Study) -> bool:
    """Whether a job goes through more than the execution lets the driver go through alone."""
    limit = study.experiment.execution.large_text_mb
    if limit is None or study.store.remote is not None:  # whose nodes have no folder in common
        return False
    return job.size(study.store.fetch) > limit * _MB


def make_in_phases(study: Study, key: Key, job: Phased) -> Artifact:
    """Make the parts that are missing of one phase after another, and publish what they make.

    A command that was stopped goes on with the parts that it left.

    Raises:
        KdrayError: a part could not be made; the others are kept.
    """
    from kdray.cluster.pool import ShardWork, make_shards  # with Ray

    store, execution = study.store, study.experiment.execution
    work = store.work_path(key)
    study.start_ray()
    with study.display.bars() as bars:
        for phase in job.phases():
            with disk_errors(work):
                work.mkdir(parents=True, exist_ok=True)
                rows = phase.prepare(work, store.fetch, device="cpu")
                plan = ShardPlan.open(work / phase.name, rows=rows, shard_rows=1)
                drop_damaged(study, plan)
            made = rows - len(plan.missing())
            bars.move(phase.name, made, rows)
            shards = ShardWork(phase, plan, store, work, "cpu")
            for _ in make_shards([shards], execution=execution) if made < rows else ():
                made += 1
                bars.move(phase.name, made, rows)
    plan.prove()
    return store.publish(key, lambda folder: job.join(work, folder, store.fetch))
