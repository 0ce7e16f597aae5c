"""The systems that `training.py` compares: the work of their processes.

`kdray` is `kdray.fit.loop.fit` as a job calls it, but each update first waits for its turn. The
others have all batches padded in memory before the race starts.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import distributed
from training_peers import PEERS, peer
from training_setting import (
    BASELINE,
    LEARNING_RATE,
    SEED,
    Setting,
    System,
    data_of,
    parallel,
    rows_of,
)
from turns import Over, Turn

from kdray.fit.loop import fit
from kdray.fit.machine import choose_precision, prepare
from kdray.fit.objective import Objective, build_objective
from kdray.fit.record import Run
from kdray.fit.worker import Worker
from kdray.methods.base import Batch
from kdray.methods.cross_entropy import CrossEntropy
from kdray.model.transformer import Transformer


def work(turn: Turn, rank: int, system: System, setting: Setting, folder: Path) -> None:
    """Train until there is no next turn; `folder` belongs to the system."""
    prepare(threads=system.threads)
    if system.products:
        torch.set_float32_matmul_precision(system.products)
    torch.manual_seed(SEED)
    worker = Worker(rank, system.workers)
    if system.workers > 1:
        meeting = f"file://{folder / 'meeting'}"
        distributed.init_process_group("gloo", init_method=meeting, rank=rank,
                                       world_size=system.workers)  # fmt: skip
    try:
        SYSTEMS[system.name](turn, system, setting, worker, folder)
    except Over:
        if system.workers > 1:
            distributed.destroy_process_group()
        raise


class _Paced(CrossEntropy):
    """The baseline method, which waits for its turn before each update."""

    turn: Turn

    def prepare(self, student: Transformer, batch: Batch) -> Batch:
        """The loop calls this once in an update, so one turn lasts from here to here."""
        self.turn.wait()
        return batch


def kdray(turn: Turn, system: System, setting: Setting, worker: Worker, folder: Path) -> None:
    """The whole loop: padding, forward, backward, clipping, AdamW, logging."""
    objective = _objective(_Paced, setting, worker)
    objective.method.turn = turn
    run = Run(setting.training, seed=SEED, folder=folder, validate=lambda _: {})
    fit(objective, data_of(setting), run, worker)


def bare(turn: Turn, system: System, setting: Setting, worker: Worker, folder: Path) -> None:
    """Forward, backward and AdamW of kdray's model and loss, and nothing else."""
    objective = _objective(CrossEntropy, setting, worker)
    data = data_of(setting)
    batches = [
        (
            data.batch(rows[worker.rank :: worker.world_size], device=worker.device),
            data.counts(rows),
        )
        for rows in rows_of(data, setting)
    ]
    optimizer = torch.optim.AdamW(objective.parameters(), lr=LEARNING_RATE, fused=True)
    shared = parallel(objective, worker)
    for batch, counts in batches:
        turn.wait()
        value, _ = shared(batch, counts)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
    turn.wait()


SYSTEMS: dict[str, Callable[[Turn, System, Setting, Worker, Path], None]] = {
    "kdray": kdray,
    "bare": bare,
    **dict.fromkeys(PEERS, peer),
}


def _objective(method: type[CrossEntropy], setting: Setting, worker: Worker) -> Objective:
    size = setting.vocabulary
    student = Transformer(setting.model, src_vocab=size, tgt_vocab=size, shared=True)
    precision = choose_precision(setting.training.precision, worker)
    return build_objective(student, method(BASELINE, student), worker, precision=precision)
