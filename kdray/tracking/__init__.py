"""Tracking of training runs with MLflow. Only this package imports mlflow.

A study is one run, and its teacher and students are child runs of it. Several students train at the
same time, so all calls go through `MlflowClient` with explicit run ids, never through mlflow's
global active run. mlflow is imported when a tracker first uses it, because the import takes
seconds. A tracker that fails never stops a training run; only `open_tracker`, which runs before
anything else, raises.
"""

from kdray.tracking.beside import beside
from kdray.tracking.contract import FINGERPRINT, NOTE, ROLE, DataSet, RunStatus, Tracker
from kdray.tracking.mlflow_tracker import MlflowTracker
from kdray.tracking.opening import open_tracker
from kdray.tracking.origin import origin
from kdray.tracking.planned import PlannedRun

__all__ = [
    "FINGERPRINT",
    "NOTE",
    "ROLE",
    "DataSet",
    "MlflowTracker",
    "PlannedRun",
    "RunStatus",
    "Tracker",
    "beside",
    "open_tracker",
    "origin",
]
