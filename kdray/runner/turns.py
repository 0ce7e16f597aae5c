"""Several commands at once: each artifact is made by one of them, and the others wait for it."""

import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack

from kdray.plan.step import Step
from kdray.runner.study import Study

POLL_SECONDS = 1.0
MOST = 200  # steps at a time: each lease holds a file open


def turns(study: Study, steps: Sequence[Step]) -> Generator[Sequence[Step]]:
    """Yields the steps that no other command makes now, then those that another did not finish.

    They are held until the next turn is asked for. None is held while this command waits, so two
    commands never wait for each other.
    """
    waiting = [(step, study.store.claim(step.key)) for step in steps]
    told: set[str] = set()
    while waiting:
        others = []
        with ExitStack() as held:
            mine: list[Step] = []
            for step, claim in waiting:
                if len(mine) < MOST and (lease := claim.take()) is not None:
                    held.enter_context(lease)
                    mine.append(step)
                else:
                    others.append((step, claim))
            if missing := [step for step in mine if not study.is_made(step.key)]:
                yield missing
        waiting = [(step, claim) for step, claim in others if not study.is_made(step.key)]
        for step, claim in waiting:
            if claim.holder and step.name not in told:
                told.add(step.name)
                study.display.note(f"{step.name}: waiting for {claim.holder}, which makes it")
        if waiting and not mine:
            time.sleep(POLL_SECONDS)
