"""Does MLflow end up with one whole curve for each run?"""

import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from tracking_probe import curve, expected, row, start

from kdray.tracking import Tracker
from kdray.tracking.points import Curves

pytestmark = pytest.mark.slow


def reopened(tracker: Tracker) -> Tracker:
    """The tracker as another process has it."""
    return pickle.loads(pickle.dumps(tracker))


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(calls=st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=6))
def test_history_is_stored_once_however_it_is_handed_over(
    tracker: Tracker, client: MlflowClient, calls: list[tuple[int, bool]]
) -> None:
    """Each call hands over the start of the history, and some come from a restarted process."""
    run_id = start(tracker)
    for attempt, (end, restarted) in enumerate([*calls, (12, False)]):
        if restarted:
            tracker = reopened(tracker)
        rows = [row(step) for step in range(1, end + 1)]
        # Steps that are computed again after a restart have another time.
        tracker.log_history(run_id, [{**row, "time": row["time"] + attempt} for row in rows])
    assert curve(client, run_id) == expected(12)
    assert tracker.last_step(run_id) == 12


def test_time_of_a_row_is_the_time_of_its_points(tracker: Tracker, client: MlflowClient) -> None:
    run_id = start(tracker)
    tracker.log_history(run_id, [{"step": 1, "time": 1_700_000_000.25, "lr": 0.1}])
    assert client.get_metric_history(run_id, "lr")[0].timestamp == 1_700_000_000_250


def test_validation_row_at_a_known_step_is_kept(tracker: Tracker, client: MlflowClient) -> None:
    run_id = start(tracker)
    tracker.log_history(run_id, [row(5)])
    tracker.log_history(run_id, [row(5, **{"dev/bleu": 12.5})])
    assert curve(client, run_id, "dev/bleu") == [(5, 12.5)]


def test_history_longer_than_a_batch_arrives_whole(tracker: Tracker, client: MlflowClient) -> None:
    run_id = start(tracker)
    tracker.log_history(run_id, [row(step) for step in range(1, 1501)])
    assert curve(client, run_id) == expected(1500)


def test_killed_while_logging_then_resumed_gives_one_curve(
    tracker: Tracker, client: MlflowClient
) -> None:
    run_id = start(tracker)
    script = (
        "import pickle\n"
        f"tracker = pickle.loads({pickle.dumps(tracker)!r})\n"
        "for step in range(1, 100_000):\n"
        "    row = {'step': step, 'time': 1_700_000_000.25 + step, 'train/loss': 1 / step}\n"
        f"    tracker.log_history({run_id!r}, [row])\n"
        "    print(step, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != b"7":
            assert process.poll() is None
        time.sleep(0.013)  # into the middle of a write
        process.send_signal(signal.SIGKILL)
    killed_at = reopened(tracker).last_step(run_id)
    assert killed_at >= 7
    assert curve(client, run_id) == expected(killed_at)

    resumed = reopened(tracker)
    assert start(resumed, run_id) == run_id
    checkpoint = 4  # the steps after it are computed, and reported, a second time
    for step in range(checkpoint + 1, killed_at + 20):
        resumed.log_history(run_id, [{**row(step), "time": time.time()}])
    resumed.finish(run_id, "FINISHED")
    assert curve(client, run_id) == expected(killed_at + 19)
    assert client.get_run(run_id).info.status == "FINISHED"


class AnswerLost:
    """A client whose connection breaks after the server has stored a batch."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return getattr(self._client, name)

    def log_batch(self, *args: Any, **kwargs: Any) -> None:
        self._client.log_batch(*args, **kwargs)
        raise ConnectionError


def test_batch_whose_answer_was_lost_is_not_sent_twice(
    tracker: Tracker, client: MlflowClient
) -> None:
    run_id, curves = start(tracker), Curves()
    curves.add(run_id, {"train/loss": 1.0}, step=1, ms=1)
    curves.send(client, run_id)
    curves.add(run_id, {"train/loss": 1 / 2}, step=2, ms=2)
    with pytest.raises(ConnectionError):
        curves.send(AnswerLost(client), run_id)
    curves.add(run_id, {"train/loss": 1 / 2}, step=2, ms=3)  # computed again
    curves.add(run_id, {"train/loss": 1 / 3}, step=3, ms=4)
    curves.send(client, run_id)
    assert curve(client, run_id) == expected(3)
    assert curves.forget(run_id) == 0


def test_value_that_is_not_finite_costs_no_other_value(
    tracker: Tracker, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = start(tracker)
    bad = row(2, **{"train/loss": float("nan"), "grad": float("inf"), "lr": 0.5})
    tracker.log_history(run_id, [row(1), bad, row(3)])
    assert curve(client, run_id) == [(1, 1.0), (3, 1 / 3)]
    assert curve(client, run_id, "lr") == [(2, 0.5)]
    assert curve(client, run_id, "grad") == []
    assert "train/loss, which is nan" in caplog.text
    assert "grad, which is inf" in caplog.text


def test_scores_stand_at_the_last_step_and_are_not_repeated(
    tracker: Tracker, client: MlflowClient
) -> None:
    run_id = start(tracker)
    tracker.log_history(run_id, [row(step) for step in range(1, 9)])
    for bleu in (30.0, 30.0, 31.0):
        reopened(tracker).log_scores(run_id, {"test-x/bleu": bleu})
    assert curve(client, run_id, "test-x/bleu") == [(8, 30.0), (8, 31.0)]
