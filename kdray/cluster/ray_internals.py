"""Which processes can Ray do without? The only file that touches Ray's private interfaces.

Ray has no public settings for what is done here. It saves seconds and changes no result, and any
version of Ray may break it. So each use first looks at what it touches. Where that is missing,
looks different or raises an error, Ray is left as it is, and only a debug message tells of it.
"""

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.data import Dataset
from ray.train import ControllerError
from ray.train.torch import TorchTrainer

logger = logging.getLogger(__name__)


def end_unused_processes() -> None:
    """End those of Ray's processes that a local session has no use for.

    The log monitor would print the workers' logs in the driver, which is switched off. The monitor
    would look for nodes. The dashboard's process waits for a dashboard that is switched off. They
    take about one percent of a core (docs/LOG.md: 5.4 to 4.5 % with Ray's metrics switched off),
    and one of them takes a second to end.
    """
    for name in ("kill_log_monitor", "kill_monitor", "kill_dashboard"):
        with _if_ray_allows(name):
            getattr(ray._private.worker._global_node, name)()


def session_folder() -> Path | None:
    """Where the session of this process keeps its logs and sockets, as far as this Ray tells."""
    folder: Path | None = None
    with _if_ray_allows("removing the session's folder"):
        folder = Path(ray._private.worker._global_node.get_session_dir_path())
    return folder


def without_restarts() -> dict[str, Any]:
    """Arguments of `map_batches` with which Ray Data does not start an actor again that died.

    Ray Data would, without end, and Ray complains in every study that such an actor gets its work
    from the object store. They are empty where Ray Data takes no options of actors any more.
    """
    parameters = inspect.signature(Dataset.map_batches).parameters
    return {"max_restarts": 0} if "ray_remote_args" in parameters else {}


def trainer_class(*, local: bool) -> type[TorchTrainer]:
    """The `TorchTrainer` that starts the fewest processes; `local`: in a local session.

    It is Ray's own class when this version of Ray does not have the methods that are overridden.
    """
    trainer: type[TorchTrainer] = TorchTrainer
    with _if_ray_allows("starting fewer processes"):
        _expect(TorchTrainer._create_default_callbacks, "self")
        _expect(TorchTrainer._initialize_and_run_controller, "self", "controller_init_kwargs")
        trainer = LocalTrainer if local else LeanTrainer
    return trainer


class LeanTrainer(TorchTrainer):  # type: ignore[misc]
    """Starts no process that would hand out Ray Data sets: workers read memory-mapped files."""

    unused = frozenset({"DatasetsCallback"})

    def fit(self) -> Any:  # noqa: ANN401 (Ray's Result)
        """Run to the end, a second time as Ray's own class if Ray's controller fails.

        What this file changes may be the reason. Workers that had begun continue from their last
        checkpoint. Errors of the workers are none of the controller's, and are raised at once.
        """
        try:
            return super().fit()
        except ControllerError as error:
            logger.debug("once more with all of Ray Train's processes: %r", error)
            self.__class__ = TorchTrainer
            return self.fit()

    def _create_default_callbacks(self) -> Any:  # noqa: ANN401 (a list, as far as we know)
        callbacks = super()._create_default_callbacks()
        with _if_ray_allows("leaving out callbacks"):
            callbacks = [each for each in callbacks if type(each).__name__ not in self.unused]
        return callbacks


class LocalTrainer(LeanTrainer):
    """Starts two processes less, which a local session does not need since it ends with its driver.

    The placement group cleaner would free what a killed driver held of a cluster. Each run would
    end up to ten seconds later, because it asks for the dashboard, which is switched off. The
    autoscaling coordinator would be asked for more nodes.

    docs/LOG.md: without cleaner and data sets, and with fewer tasks, the micro study of the tests
    took 116 s instead of 142. docs/results/training.md: without coordinator and unused processes, a
    command with one run spent 16 s outside of updates for Ray and MLflow, 19 to 21 s before.
    """

    unused = LeanTrainer.unused | {"PlacementGroupCleanerCallback"}

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:  # noqa: ANN401
        with _if_ray_allows("asking for no nodes"):
            _ask_for_no_nodes(arguments["scaling_policy"])
        return super()._initialize_and_run_controller(**arguments)


def _ask_for_no_nodes(policy: Any) -> None:  # noqa: ANN401 (Ray's ScalingPolicy)
    """Let a policy neither connect to the autoscaling coordinator nor send it a request."""
    _expect(policy.after_controller_start, "train_run_context")
    _expect(policy._maybe_send_resource_request)
    policy.after_controller_start = policy._maybe_send_resource_request = _nothing


def _nothing(*_: object) -> None:
    """Replace a method. The policy is pickled, so this is a function of a module."""


@contextmanager
def _if_ray_allows(what: str) -> Iterator[None]:
    """Leave Ray as it is where this version does not have what the body touches."""
    try:
        yield
    except Exception as error:  # whatever a version of Ray may raise
        logger.debug("Ray is left as it is, %s failed: %r", what, error)


def _expect(method: Callable[..., Any], *parameters: str) -> None:
    """Raise TypeError unless a method takes exactly these parameters."""
    if (taken := tuple(inspect.signature(method).parameters)) != parameters:
        raise TypeError(f"{method.__qualname__} takes {taken} where {parameters} were expected")
