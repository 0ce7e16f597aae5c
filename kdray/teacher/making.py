"""One process makes shards: how wide its batches are, what it does when memory runs out."""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import psutil
import torch

from kdray.jobs import Build
from kdray.model.memory import (
    LEAST,
    is_out_of_memory,
    set_tokens_per_batch,
    tokens_per_batch,
)
from kdray.storage.parts import Parts
from kdray.teacher.attempts import attempt_at
from kdray.teacher.budget import Budget
from kdray.teacher.shards import ShardPlan

SHARE = 0.8  # of the memory that is free; the rest is for what else goes on


@dataclass(frozen=True, slots=True)
class BatchSize:
    """How padded tokens in a batch are found.

    Attributes:
        fixed: they are set, and are not looked for.
        budget: else what is known of them; None where nothing depends on it.
        memory: bytes that a process may have.
        device: where it works.
    """

    fixed: int | None
    budget: Budget | None
    memory: float
    device: str

    def tokens(self) -> int | None:
        """For the next shard; None: whatever the process has."""
        return self.fixed or (self.budget.tokens if self.budget is not None else None)

    def ran_out(self, tokens: int) -> None:
        """Note that so many were too many."""
        if self.budget is not None:
            self.budget.ran_out(tokens)

    def learn(self, tokens: int, speed: float) -> None:
        """Note how fast a whole shard was."""
        if self.budget is not None and self.fixed is None:
            self.budget.learn(tokens, speed, room=self.memory / used_memory(self.device))


def make_shard(
    plan: ShardPlan,
    index: int,
    build: Build,
    size: BatchSize,
    *,
    worker: str,
    parts: Parts | None = None,
) -> None:
    """Make a shard of a plan, with smaller batches if a process died with it or memory runs out.

    `parts` keep what it has in hand where nodes have no folder in common.

    Where a process died with it, and no row is known to be the reason, memory was: other shards
    are not made with so many tokens in a batch either.

    Raises:
        KdrayError: it cannot be made.
    """
    attempt = attempt_at(plan.path(index), worker, parts)
    asked = size.tokens() or tokens_per_batch()
    set_tokens_per_batch(min([asked, *(died // 2 for died in attempt.tokens)]))
    attempt.hold([])
    careful = build
    if getattr(build, "takes_attempts", False):
        careful = partial(build, attempt=attempt)  # type: ignore[call-arg]
    began = time.perf_counter()
    _with_smaller_batches(lambda: plan.make(index, careful), size)
    attempt.end()
    if attempt.tokens and not attempt.deadly:
        size.ran_out(min(attempt.tokens))
    made = plan.record(index)["counts"]
    if tokens_per_batch() == asked and made.get("tokens") and not made.get("reused"):
        size.learn(asked, made["tokens"] / (time.perf_counter() - began))


def _with_smaller_batches(work: Callable[[], None], size: BatchSize) -> None:
    """Do some work; again with half the tokens in a batch each time that memory runs out."""
    while True:
        try:
            before = tokens_per_batch()
            work()
            if tokens_per_batch() < before:  # it helped itself
                size.ran_out(before)
            return
        except Exception as error:
            if not is_out_of_memory(error) or tokens_per_batch() <= LEAST:
                raise
            size.ran_out(tokens_per_batch())
            set_tokens_per_batch(tokens_per_batch() // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def free_memory(device: str, *, processes: int) -> float:
    """Bytes that each of so many processes of a machine may have; a GPU is for one alone."""
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info()
        return float(SHARE * free)
    return float(SHARE * psutil.virtual_memory().available / max(processes, 1))


def used_memory(device: str) -> float:
    """Bytes that this process had at most."""
    if device.startswith("cuda"):
        free, total = torch.cuda.mem_get_info()
        return float(total - free)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(most if sys.platform == "darwin" else most * 1024)
