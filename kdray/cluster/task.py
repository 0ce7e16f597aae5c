"""Steps that one process on the cluster makes each, with CPUs of its own.

What a step measures, such as the speed of decoding, is measured on the CPUs that Ray reserves for
it. By default these are all of a node, so nothing else of the command runs there.
"""

from collections.abc import Iterator, Sequence

import ray

from kdray.artifacts import Store
from kdray.cluster.failures import failure
from kdray.cluster.session import node_cpus
from kdray.errors import KdrayError
from kdray.fit.machine import prepare
from kdray.jobs import Whole
from kdray.plan.step import Step


def make_each(
    steps: Sequence[Step], *, store: Store, threads: int
) -> Iterator[tuple[Step, KdrayError | None]]:
    """Make and publish steps, side by side as far as the cluster has `threads` CPUs for each.

    Yields each as it ends, with its failure.
    """
    task = _make.options(num_cpus=threads)
    going_on = {task.remote(step, store, threads): step for step in steps}
    while going_on:
        (ended,), _ = ray.wait(list(going_on))
        step = going_on.pop(ended)
        try:
            ray.get(ended)
        except ray.exceptions.RayError as error:
            yield step, failure(error, place=f"{step.heading}, {step.name}")
        else:
            yield step, None


def evaluation_threads(asked: int | None) -> int:
    """CPUs that each evaluation uses: as set, or those of the smallest node that has any."""
    return asked if asked is not None else max(1, min(node_cpus(), default=1))


@ray.remote  # type: ignore[untyped-decorator]
def _make(step: Step, store: Store, threads: int) -> None:
    prepare(threads=threads)
    job = step.job
    assert isinstance(job, Whole), "the caller has looked"
    store.cached(step.key, lambda folder: job.make(folder, store.fetch, threads=threads))
