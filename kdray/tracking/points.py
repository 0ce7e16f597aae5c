"""Which points of a run's curves does MLflow still lack? Each is sent exactly once.

MLflow is asked for the last step of each metric, once for each run and again after every failure.
Points are sent in the order of their steps, so the points that a crash cut off are exactly those
above the last step.
"""

import time
from collections.abc import Mapping
from typing import Any


class Curves:
    """Points that wait to be sent to MLflow. Each call gets the client, which is made lazily."""

    def __init__(self) -> None:
        # (step, metric) -> (value, unix milliseconds), for each run
        self._waiting: dict[str, dict[tuple[int, str], tuple[float, int]]] = {}
        self._last_steps: dict[str, dict[str, int]] = {}

    def add(self, run_id: str, metrics: Mapping[str, float], *, step: int, ms: int) -> None:
        """Keep points until `send`; those that MLflow is known to hold are left out."""
        known = self._last_steps.get(run_id, {})
        waiting = self._waiting.setdefault(run_id, {})
        for name, value in metrics.items():
            if step > known.get(name, -1):
                waiting[step, name] = (value, ms)

    def send(self, client: Any, run_id: str) -> None:  # noqa: ANN401 (MlflowClient)
        """Send the points that wait; if this raises, they are kept."""
        waiting = self._waiting.get(run_id)
        if not waiting:
            return
        known = self.last_steps(client, run_id)
        points = [
            (name, value, ms, step)
            for (step, name), (value, ms) in sorted(waiting.items())
            if step > known.get(name, -1)
        ]
        self._log(client, run_id, points)
        waiting.clear()

    def send_scores(self, client: Any, run_id: str, scores: Mapping[str, float]) -> None:  # noqa: ANN401
        """Store scores at the last step of the run, except those whose value is stored already."""
        ms = int(time.time() * 1000)
        step = max(self.last_steps(client, run_id).values(), default=0)
        known = client.get_run(run_id).data.metrics
        points = [(k, v, ms, step) for k, v in scores.items() if known.get(k) != v]
        self._log(client, run_id, points)

    def last_steps(self, client: Any, run_id: str) -> dict[str, int]:  # noqa: ANN401 (MlflowClient)
        """The last step of each metric in MLflow, without system metrics."""
        if run_id not in self._last_steps:
            metrics = client.get_run(run_id).data.metrics
            self._last_steps[run_id] = {
                name: max(point.step for point in client.get_metric_history(run_id, name))
                for name in metrics
                if not name.startswith("system/")
            }
        return self._last_steps[run_id]

    def forget(self, run_id: str) -> int:
        """Forget a run. -> the number of its points that were not sent."""
        self._last_steps.pop(run_id, None)
        return len(self._waiting.pop(run_id, {}))

    def _log(self, client: Any, run_id: str, points: list[tuple[str, float, int, int]]) -> None:  # noqa: ANN401
        from mlflow.entities import Metric

        if not points:
            return
        # If this fails half way, it is unknown what MLflow holds, so the next call asks it again.
        known = self._last_steps.pop(run_id)
        # The client cuts the list into batches of a size that the server accepts.
        client.log_batch(run_id, metrics=[Metric(*point) for point in points], synchronous=True)
        self._last_steps[run_id] = known | {name: step for name, _, _, step in points}
