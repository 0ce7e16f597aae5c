"""How is a tracker made, in the driver and in every other process?"""

from collections.abc import Mapping
from pathlib import Path

from kdray.config.execution import TrackingConfig
from kdray.errors import InputError
from kdray.tracking.contract import NullTracker, Tracker
from kdray.tracking.mlflow_tracker import MlflowTracker
from kdray.tracking.store import absolute_uri, ensure_experiment, unusable


def open_tracker(config: TrackingConfig, *, storage: Path, experiment: str) -> Tracker:
    """Create the database and the experiment. The driver does this before any worker starts.

    Without a URI, runs are stored in `storage/mlflow.db` and their files in `storage/mlartifacts`.

    Raises:
        InputError: MLflow cannot be used at the URI, or the experiment was deleted there.
    """
    if not config.enabled:
        return NullTracker()
    storage = storage.resolve()
    uri = absolute_uri(config.uri or f"sqlite:///{storage / 'mlflow.db'}")
    try:
        experiment_id = ensure_experiment(uri, experiment, storage=storage)
    except InputError:
        raise
    except Exception as error:
        raise unusable(uri, error) from None
    tracker = MlflowTracker(uri, experiment_id, with_system_metrics=config.system_metrics)
    tracker.check()
    return tracker


def tracker_from_spec(spec: Mapping[str, str | None]) -> Tracker:
    """The tracker with this `spec`. It connects when it is first used."""
    uri, experiment_id = spec["uri"], spec["experiment_id"]
    if uri is None or experiment_id is None:
        return NullTracker()
    return MlflowTracker(uri, experiment_id, with_system_metrics=spec["system_metrics"] is not None)
