"""One Ray session for a command: a local one, unless an address is given.

A cluster is never joined by accident: only through `execution.address`, RAY_ADDRESS, or inside a
submitted job, which sets RAY_ADDRESS.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from kdray.config import Execution
from kdray.errors import InputError
from kdray.fit.machine import ENVIRONMENT

# The controller of a training run looks after its workers this often, and notices their end then.
_RAY_ENVIRONMENT = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5"}


@contextmanager
def session(execution: Execution, *, dashboard: bool = False) -> Iterator[None]:
    """Start or join Ray, check that the cluster is large enough, and leave it at the end.

    Raises:
        InputError: no cluster answers at the address, or it has fewer resources than asked for.
    """
    if ray.is_initialized():
        check_resources(execution)
        yield
        return
    address = execution.address or os.environ.get("RAY_ADDRESS")
    environment = {**ENVIRONMENT, **_RAY_ENVIRONMENT}
    try:
        ray.init(
            address=address or "local",
            num_cpus=None if address else execution.cpus,
            include_dashboard=None if address else dashboard,
            runtime_env={"env_vars": environment},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ConnectionError as error:
        raise InputError(
            f"execution.address {address}: no Ray cluster answers there ({error}); start one, or "
            "leave the address out to run locally"
        ) from None
    try:
        check_resources(execution)
        yield
    finally:
        ray.shutdown()


def check_resources(execution: Execution) -> None:
    """Refuse widths that could never be scheduled.

    Raises:
        InputError: with what was asked for, what there is, and the setting to lower.
    """
    resources = ray.cluster_resources()
    cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    workers = execution.train_workers
    wanted = workers * (execution.cpus_per_worker or 1)
    if wanted > cpus:
        raise InputError(
            f"execution.train_workers {workers} with {execution.cpus_per_worker or 1} CPUs each "
            f"need {wanted} CPUs, the cluster has {cpus}; lower them"
        )
    if execution.use_gpu and workers > gpus:
        raise InputError(
            f"execution.train_workers {workers} need a GPU each, the cluster has {gpus}; "
            "lower them or set execution.use_gpu to false"
        )


def worker_cpus(execution: Execution, *, runs: int) -> int:
    """CPUs of each training worker: as set, or an even share among runs that go side by side."""
    if execution.cpus_per_worker is not None:
        return execution.cpus_per_worker
    cpus = int(ray.cluster_resources().get("CPU", 1))
    side_by_side = min(runs, execution.parallel_students)
    return max(1, cpus // (execution.train_workers * side_by_side))
