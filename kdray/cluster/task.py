"""Steps that one process on the cluster makes, with all CPUs of a node."""

import ray

from kdray.artifacts import Store
from kdray.cluster.failures import failure
from kdray.cluster.session import node_cpus
from kdray.fit.machine import prepare
from kdray.jobs import Whole
from kdray.plan.step import Step


def make_whole(step: Step, *, store: Store, threads: int) -> None:
    """Make a step and publish it.

    Raises:
        KdrayError: it could not be made.
    """
    try:
        ray.get(_make.options(num_cpus=threads).remote(step, store, threads))
    except ray.exceptions.RayError as error:
        raise failure(error, place=f"{step.heading}, {step.name}") from error


def evaluation_threads(asked: int | None) -> int:
    """CPUs that evaluation uses: as set, or those of the smallest node that has any."""
    return asked if asked is not None else max(1, min(node_cpus(), default=1))


@ray.remote  # type: ignore[untyped-decorator]
def _make(step: Step, store: Store, threads: int) -> None:
    prepare(threads=threads)
    job = step.job
    assert isinstance(job, Whole), "the caller has looked"
    store.cached(step.key, lambda folder: job.make(folder, store.fetch, threads=threads))
