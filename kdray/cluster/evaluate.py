"""Evaluation on Ray: one model at a time, with all CPUs of one node, so that speeds compare."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from kdray.artifacts import Key, Store
from kdray.cluster.session import node_cpus
from kdray.cluster.train import POLL_SECONDS
from kdray.fit.machine import prepare
from kdray.scoring.evaluate import EvaluationJob


def evaluate(
    job: EvaluationJob, *, key: Key, store: Store, threads: int, watch: Callable[[], None]
) -> None:
    """Translate and score with one model and publish the scores."""
    running = _evaluate.options(num_cpus=threads).remote(job, key, store.root, threads)
    done: list[Any] = []
    while not done:
        done, _ = ray.wait([running], timeout=POLL_SECONDS)
        watch()
    ray.get(running)


def evaluation_threads(asked: int | None) -> int:
    """CPUs that evaluation uses: as set, or those of the smallest node that has any."""
    return asked if asked is not None else max(1, min(node_cpus(), default=1))


@ray.remote  # type: ignore[untyped-decorator]
def _evaluate(job: EvaluationJob, key: Key, root: Path, threads: int) -> None:
    prepare(threads=threads)
    store = Store(root)
    store.cached(key, lambda folder: job.make(folder, store.fetch, threads=threads))
