"""How is a tracker made? By the driver; other processes are given it, pickled."""

from pathlib import Path

from kdray.config.execution import TrackingConfig
from kdray.errors import InputError, redact
from kdray.tracking.contract import Tracker
from kdray.tracking.mlflow_tracker import MlflowTracker
from kdray.tracking.store import (
    absolute_uri,
    cause,
    check_database,
    ensure_experiment,
    own_database,
    public,
)


def open_tracker(config: TrackingConfig, *, storage: Path, experiment: str) -> Tracker:
    """Create the database and the experiment. The driver does this before any worker starts.

    Without a URI, runs are stored in `storage/mlflow.db` and their files in `storage/mlartifacts`.

    Raises:
        InputError: MLflow cannot be used at the URI, or the experiment was deleted there.
    """
    if not config.enabled:
        return Tracker()
    storage = storage.resolve()
    uri = own_database(storage) if config.uri is None else absolute_uri(config.uri)
    try:
        check_database(uri)
        experiment_id = ensure_experiment(uri, experiment, storage=storage)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"execution.tracking.uri {redact(public(uri))}: MLflow cannot be used there "
            f"({cause(error)}); correct the URI, start its server, or set "
            "execution.tracking.enabled to false"
        ) from None
    return MlflowTracker(uri, experiment_id, with_system_metrics=config.system_metrics)
