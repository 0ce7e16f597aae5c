"""One Ray session for a command: a local one, unless an address is given.

A cluster is never joined by accident: only through `execution.address`, RAY_ADDRESS, or inside a
submitted job, which sets RAY_ADDRESS.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import ray

from kdray.config.execution import Execution
from kdray.errors import InputError
from kdray.fit.machine import ENVIRONMENT

LEAST_TOKENS_OF_WORKER = 512  # of an update, below which another worker gains nothing

# The controller of a training run looks after its workers this often, and notices their end then.
_RAY_ENVIRONMENT = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5"}
_LOCAL_ENVIRONMENT = {
    # Nobody takes the node away, so no run needs an actor that watches for it.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # Nobody reads the metrics of Ray's own processes; a dashboard would show them.
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
}


@contextmanager
def session(execution: Execution) -> Iterator[None]:
    """Start or join Ray, check that the cluster is large enough, and leave it at the end.

    Raises:
        InputError: no cluster answers at the address, or it has fewer resources than asked for.
    """
    if ray.is_initialized():
        check_resources(execution)
        yield
        return
    address = cluster_address(execution)
    environment = {**ENVIRONMENT, **_RAY_ENVIRONMENT}
    if not address:
        environment |= _LOCAL_ENVIRONMENT
        os.environ.update(_LOCAL_ENVIRONMENT)  # Ray's own processes take it from here
    try:
        with _own_sigterm():
            ray.init(
                address=address or "local",
                num_cpus=None if address else execution.cpus,
                include_dashboard=None if address else False,
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
        if not address:
            _end_helpers()
        check_resources(execution)
        yield
    finally:
        ray.shutdown()


def _end_helpers() -> None:
    """End those of Ray's processes that a local session has no use for.

    One would print the workers' logs in the driver, which is switched off, one would look for
    nodes, one waits for a dashboard. Together they take more than a percent of a core, and one
    takes a second to end.
    """
    node = ray._private.worker._global_node
    node.kill_log_monitor()
    node.kill_monitor()
    node.kill_dashboard()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep a handler of SIGTERM that Ray would replace: its own ends Ray before the driver."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and before is not signal.SIG_DFL:
            signal.signal(signal.SIGTERM, before)


def cluster_address(execution: Execution) -> str | None:
    """Of the cluster that a command works on. None: a local session, which ends with it."""
    return execution.address or os.environ.get("RAY_ADDRESS")


def check_resources(execution: Execution) -> None:
    """Refuse widths that could never be scheduled.

    Raises:
        InputError: with what was asked for, what there is, and the setting to lower.
    """
    resources = ray.cluster_resources()
    cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    workers = execution.train_workers or 1
    wanted = workers * (execution.cpus_per_worker or 1)
    if wanted > cpus:
        raise InputError(
            f"execution.train_workers {workers} with {execution.cpus_per_worker or 1} CPUs each "
            f"need {wanted} CPUs, the cluster has {cpus}; lower them"
        )
    largest = max(node_cpus(), default=0)
    for key in ("cpus_per_worker", "evaluation_cpus"):
        asked = getattr(execution, key)
        if asked is not None and asked > largest:
            raise InputError(
                f"execution.{key} {asked} are more than the {largest} CPUs of the largest node; "
                "lower it"
            )
    if execution.use_gpu and workers > gpus:
        raise InputError(
            f"execution.train_workers {workers} need a GPU each, the cluster has {gpus}; "
            "lower them or set execution.use_gpu to false"
        )


@dataclass(frozen=True, slots=True)
class Width:
    """Workers of one training run, and the CPUs (threads) of each."""

    workers: int
    cpus: int


def run_width(execution: Execution, *, runs: int, tokens_per_update: int) -> Width:
    """How wide each of `runs` training runs is, of which `parallel_students` go side by side.

    As set; else the cluster is shared out evenly, as workers with one CPU, or GPU, each: on a CPU a
    second thread gains far less than a second worker. It depends on nothing that a stopped study
    has finished already, so that it continues with the width it started with.
    """
    nodes = [_places(node, use_gpu=execution.use_gpu) for node in _nodes()]
    side_by_side = min(runs, execution.parallel_students)
    cpus = max(1, sum(node.cpus for node in nodes) // side_by_side)
    each = execution.cpus_per_worker or 1
    workers = execution.train_workers
    if workers is None:
        fitting = sum(node.workers(each) for node in nodes) // side_by_side
        workers = max(1, min(fitting, tokens_per_update // LEAST_TOKENS_OF_WORKER))
    if execution.cpus_per_worker is not None:
        return Width(workers, execution.cpus_per_worker)
    wide = max(1, cpus // workers)
    while wide > 1 and sum(node.workers(wide) for node in nodes) < side_by_side * workers:
        wide -= 1  # a worker stays on one node
    return Width(workers, wide)


@dataclass(frozen=True, slots=True)
class _Places:
    """What a node has for training workers: CPUs, and of GPUs so many as they may take."""

    cpus: int
    most: int

    def workers(self, cpus: int) -> int:
        """How many fit, of so many CPUs each."""
        return min(self.cpus // cpus, self.most)


def _places(resources: Mapping[str, float], *, use_gpu: bool) -> _Places:
    """With GPUs, a node without one has no place."""
    cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    if use_gpu:
        return _Places(cpus if gpus else 0, gpus)
    return _Places(cpus, cpus)


def _nodes() -> list[Mapping[str, float]]:
    """Resources of each node."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def node_cpus() -> list[int]:
    """CPUs of each node that has any."""
    found = [int(resources.get("CPU", 0)) for resources in _nodes()]
    return [cpus for cpus in found if cpus]
