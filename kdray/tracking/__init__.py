"""Following training runs with MLflow. Only this package imports mlflow.

A study is one run, its teacher and students are runs below it. Everything goes through
`MlflowClient` with explicit run ids, never through mlflow's global active run: several students
train at the same time. mlflow is imported when a tracker first speaks to it, because the import
takes seconds. Losing the tracker never stops a training run; only `open_tracker`, which runs before
anything else, raises.
"""

from kdray.tracking.beside import beside
from kdray.tracking.contract import NullTracker, RunStatus, Tracker
from kdray.tracking.opening import open_tracker, tracker_from_spec
from kdray.tracking.runs import MlflowTracker

__all__ = [
    "MlflowTracker",
    "NullTracker",
    "RunStatus",
    "Tracker",
    "beside",
    "open_tracker",
    "tracker_from_spec",
]
