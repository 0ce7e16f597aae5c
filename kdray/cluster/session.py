"""Which Ray does a command work on, and how wide is each training run there?

A command starts a local session of Ray unless it is given the address of a cluster
(`cluster.address`).
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray

from kdray.cluster.address import cluster_address, named_by, uses_ray_internals
from kdray.cluster.ray_internals import end_unused_processes, session_folder
from kdray.cluster.session_folder import removed_at_the_end
from kdray.cluster.start import NotStarted, bring_up
from kdray.config.execution import Execution
from kdray.errors import InputError
from kdray.fit.machine import ENVIRONMENT

LEAST_TOKENS_OF_WORKER = 512  # of each update; a worker with fewer costs more than it gains

# The controller of a training run looks this often whether its workers are alive or have ended.
_RAY_ENVIRONMENT = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5"}
_LOCAL_ENVIRONMENT = {
    # The local node is not going to be preempted, so no run needs an actor that watches for it.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # The metrics of Ray's own processes would be shown by the dashboard, which is switched off.
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
}


@contextmanager
def session(execution: Execution) -> Iterator[None]:
    """Start a local Ray, or join a cluster, for the length of a `with` block.

    A session that the process has already started is used as it is, and goes on afterwards.

    Raises:
        InputError: Ray does not start, no cluster answers at the address in time, or it has fewer
            resources than asked for.
    """
    if ray.is_initialized():
        check_resources(execution)
        yield
        return
    address = cluster_address(execution)
    environment = {**ENVIRONMENT, **_RAY_ENVIRONMENT}
    if address is None:
        environment |= _LOCAL_ENVIRONMENT
        os.environ.update(_LOCAL_ENVIRONMENT)  # Ray's own processes inherit it
    try:
        with _own_sigterm():
            end = bring_up(
                execution.start_seconds if address is None else execution.connect_seconds,
                address=address or "local",
                num_cpus=None if address else execution.cpus,
                include_dashboard=None if address else False,
                runtime_env={"env_vars": environment},
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except NotStarted as error:
        raise InputError(_refusal(execution, str(error))) from None
    is_lean = address is None and uses_ray_internals()
    with removed_at_the_end(session_folder() if is_lean else None):
        try:
            if is_lean:
                end_unused_processes()
            check_resources(execution)
            yield
        finally:
            end()


def _refusal(execution: Execution, words: str) -> str:
    """What a user is told when Ray did not come up, and said why."""
    if (address := cluster_address(execution)) is None:
        return (
            f"Ray does not start on this machine ({words}); it must be able to write ~/.ray, where "
            "its token is, or be given one by RAY_AUTH_TOKEN_PATH, and to write RAY_TMPDIR or "
            "/tmp/ray; a slow machine may need more than execution.start_seconds "
            f"{execution.start_seconds:g}"
        )
    repair = "start one there, correct the address, or leave it out to run locally"
    if "token" in words:
        repair = (
            "give this command the cluster's token: RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH "
            "with its file"
        )
    return (
        f"{named_by(execution)} {address}: no Ray cluster can be joined there ({words}); {repair}"
    )


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Restore this process's handler of SIGTERM after Ray has set its own.

    Ray's handler would end Ray before the command has closed its runs in MLflow.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and before is not signal.SIG_DFL:
            signal.signal(signal.SIGTERM, before)


def where(execution: Execution) -> str:
    """Which Ray a command works on, in words for a person."""
    if ray.is_initialized():
        return f"cluster {ray.get_runtime_context().gcs_address}"
    address = cluster_address(execution)
    return f"{address} ({named_by(execution)})" if address else "local session"


def check_tokens() -> None:
    """Refuse a Ray whose ports would answer everybody who reaches this machine.

    Raises:
        InputError: its token authentication is switched off.
    """
    mode = os.environ.get("RAY_AUTH_MODE") or "token"  # what Ray takes where nothing is said
    if mode != "token":
        raise InputError(
            f"RAY_AUTH_MODE {mode}: Ray's own ports are open to other machines and would run code "
            "for whoever asks; leave the variable out, so that they ask for a token"
        )


def check_resources(execution: Execution) -> None:
    """Refuse numbers of workers, CPUs and GPUs for which the cluster can never have room.

    Raises:
        InputError: a setting asks for more than there is. The message names the setting.
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
    """The number of workers of one training run, and the CPUs of each, which are its threads."""

    workers: int
    cpus: int


def run_width(execution: Execution, *, runs: int, tokens_per_update: int) -> Width:
    """Work out the width of each of `runs` training runs.

    `parallel_students` of them train at the same time. What the configuration leaves open is
    chosen so that they share the cluster evenly. Each worker gets one CPU, or one GPU, before any
    gets a second CPU, because a second worker speeds up training more than a second thread.

    Weights depend on the number of workers, and their last bits on that of threads, so neither may
    depend on how many runs are finished already: a study that was stopped continues with the width
    that it started with.
    """
    side_by_side = min(runs, execution.parallel_students)
    workers = execution.train_workers
    if workers is None:
        most = _fitting(execution, execution.cpus_per_worker or 1) // side_by_side
        workers = max(1, min(most, tokens_per_update // LEAST_TOKENS_OF_WORKER))
    if execution.cpus_per_worker is not None:
        return Width(workers, execution.cpus_per_worker)
    cpus = sum(cpus for cpus, _ in _nodes_for_training(execution))
    wide = max(1, cpus // side_by_side // workers)
    while wide > 1 and _fitting(execution, wide) < side_by_side * workers:
        wide -= 1  # a worker stays on one node
    return Width(workers, wide)


def runs_at_once(execution: Execution, width: Width) -> int:
    """How many runs so wide are begun side by side: at most `parallel_students`.

    In a local session no more than it has room for. A cluster may grow when runs wait for room.
    """
    if cluster_address(execution) is not None:
        return execution.parallel_students
    room = _fitting(execution, width.cpus) // width.workers
    return max(1, min(execution.parallel_students, room))


def _fitting(execution: Execution, cpus_of_worker: int) -> int:
    """How many workers with so many CPUs there is room for."""
    nodes = _nodes_for_training(execution)
    return sum(min(cpus // cpus_of_worker, most) for cpus, most in nodes)


def _nodes_for_training(execution: Execution) -> list[tuple[int, int]]:
    """CPUs of each node that workers can be on, and how many: a worker has a GPU for itself."""
    if execution.use_gpu:
        return [(cpus, gpus) for cpus, gpus in _nodes() if gpus]
    return [(cpus, cpus) for cpus, _ in _nodes()]


def _nodes() -> list[tuple[int, int]]:
    """CPUs and GPUs of each node that is alive and has CPUs."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [
        (int(each["CPU"]), int(each.get("GPU", 0))) for each in alive if each.get("CPU", 0) >= 1
    ]


def resources() -> dict[str, int]:
    """CPUs and GPUs of the cluster that this process has joined."""
    there = ray.cluster_resources()
    return {kind: int(there.get(kind, 0)) for kind in ("CPU", "GPU")}


def node_cpus() -> list[int]:
    """The number of CPUs of each node that has any."""
    return [cpus for cpus, _ in _nodes()]
