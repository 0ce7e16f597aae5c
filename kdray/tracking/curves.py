"""Which points of a run's curves does MLflow still lack? Each is sent exactly once.

What MLflow holds is asked of MLflow, once for each run and again after every failure, and kept as
the last step of each metric. Points go out in the order of their steps, so that whatever a crash
cuts off is found again above the last step, however the batches fell.
"""

from collections.abc import Mapping
from typing import Any


class Curves:
    """Points on their way to MLflow. The client is given with each call: it is made lazily."""

    def __init__(self) -> None:
        # (step, metric) -> (value, unix milliseconds), for each run
        self._waiting: dict[str, dict[tuple[int, str], tuple[float, int]]] = {}
        self._last_steps: dict[str, dict[str, int]] = {}

    def add(self, run_id: str, metrics: Mapping[str, float], *, step: int, ms: int) -> None:
        """Let points wait. Those that MLflow is known to hold are left out."""
        known = self._last_steps.get(run_id, {})
        waiting = self._waiting.setdefault(run_id, {})
        for name, value in metrics.items():
            if step > known.get(name, -1):
                waiting[step, name] = (value, ms)

    def send(self, client: Any, run_id: str) -> None:  # noqa: ANN401 (MlflowClient)
        """Send the points that wait; they go on waiting if this raises."""
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

    def send_scores(
        self,
        client: Any,  # noqa: ANN401 (MlflowClient)
        run_id: str,
        scores: Mapping[str, float],
        *,
        ms: int,
    ) -> None:
        """Send single values, at the last step of the run; equal ones are there already."""
        step = max(self.last_steps(client, run_id).values(), default=0)
        known = client.get_run(run_id).data.metrics
        points = [(k, v, ms, step) for k, v in scores.items() if known.get(k) != v]
        self._log(client, run_id, points)

    def last_steps(self, client: Any, run_id: str) -> dict[str, int]:  # noqa: ANN401 (MlflowClient)
        """Last step of each metric in MLflow, system metrics aside."""
        if run_id not in self._last_steps:
            metrics = client.get_run(run_id).data.metrics
            self._last_steps[run_id] = {
                name: max(point.step for point in client.get_metric_history(run_id, name))
                for name in metrics
                if not name.startswith("system/")
            }
        return self._last_steps[run_id]

    def forget(self, run_id: str) -> int:
        """Drop what is known of a run. Returns the number of its points that never were sent."""
        self._last_steps.pop(run_id, None)
        return len(self._waiting.pop(run_id, {}))

    def _log(self, client: Any, run_id: str, points: list[tuple[str, float, int, int]]) -> None:  # noqa: ANN401
        from mlflow.entities import Metric

        if not points:
            return
        # If this fails half way, nobody here knows what MLflow holds: it is asked again.
        known = self._last_steps.pop(run_id)
        # The client cuts the list into batches that the server takes.
        client.log_batch(run_id, metrics=[Metric(*point) for point in points], synchronous=True)
        self._last_steps[run_id] = known | {name: step for name, _, _, step in points}
