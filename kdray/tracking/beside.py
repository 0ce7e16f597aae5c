"""Sends the history of a training run to a tracker in a thread, so that updates do not wait."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from kdray.tracking.contract import Tracker


@contextmanager
def beside(
    tracker: Tracker, run_id: str, rows: Callable[[int], Sequence[Mapping[str, float]]]
) -> Iterator[Callable[[int], None]]:
    """Yield a function that sends the rows of a run's history up to a step, in a thread.

    A call that has not begun is cancelled by the next one, whose rows include all of its own. The
    body begins when the tracker has connected or failed to. After the body, the last call is waited
    for, and raises what reading the rows raised.
    """
    last: Future[None] | None = None

    def send(step: int) -> None:
        nonlocal last
        if last is not None:
            last.cancel()
        last = pool.submit(lambda: tracker.log_history(run_id, rows(step)))

    with ThreadPoolExecutor(1, thread_name_prefix="tracker") as pool:
        pool.submit(tracker.last_step, run_id).result()
        yield send
    if last is not None:
        last.result()
