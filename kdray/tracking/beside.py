"""Telling a tracker of a training run beside its updates, which do not wait for it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from kdray.tracking.contract import Tracker


@contextmanager
def beside(
    tracker: Tracker, run_id: str, rows: Callable[[int], Sequence[Mapping[str, float]]]
) -> Iterator[Callable[[int], None]]:
    """Yield what sends, in a thread, the rows of a run's history up to a step.

    A call that still waits gives way to the next one, whose rows begin with the same. The body
    begins when the tracker is connected or has failed to be; at its end the last call is waited
    for, with what the tracker takes then.
    """

    def send(step: int) -> None:
        tracker.log_history(run_id, rows(step))

    waiting: Future[None] | None = None

    def soon(step: int) -> None:
        nonlocal waiting
        if waiting is not None:
            waiting.cancel()
        waiting = pool.submit(send, step)

    with ThreadPoolExecutor(1, thread_name_prefix="tracker") as pool:
        pool.submit(tracker.last_step, run_id).result()
        yield soon
    if waiting is not None:
        waiting.result()
