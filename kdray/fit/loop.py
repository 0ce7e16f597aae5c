"""The training loop: one update after another, each a pure function of seed and step.

Workers share every batch: they take every n-th of its rows, and sums are divided by counts of the
whole batch. Randomness is seeded anew for each update, so a run that is resumed equals one that
was not, bit for bit on a CPU with the same number of workers.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from kdray.config import TrainingConfig
from kdray.errors import DataError, TrainingDiverged
from kdray.fit.bilevel import GateStep, learns_from_dev
from kdray.fit.checkpoint import HISTORY, Checkpoints, History, Progress
from kdray.fit.data import TrainingData
from kdray.fit.schedule import learning_rate
from kdray.fit.worker import Worker
from kdray.methods.base import Batch, Clock, Loss, Method, Per
from kdray.model.transformer import Transformer
from kdray.schema import View
from kdray.seeds import derive_seed
from kdray.text.batching import Rows

logger = logging.getLogger(__name__)

LOG_EVERY = 25  # updates, or the largest divisor of checkpoint_every below

Validate = Callable[[Transformer], Mapping[str, float]]


class Objective(nn.Module):
    """A student and its method as one module, as DistributedDataParallel wants it."""

    def __init__(self, student: Transformer, method: Method) -> None:
        super().__init__()
        self.student = student
        self.method = method

    def forward(self, batch: Batch, counts: Mapping[Per, int]) -> tuple[Tensor, Loss]:
        """The value to minimise: this worker's share of every sum over its global count."""
        loss: Loss = self.method(self.student, batch)
        value = torch.stack([total / counts[per] for per, total in loss.terms.items()]).sum()
        return value, loss


@dataclass(frozen=True, slots=True)
class Run:
    """What one training run is made of.

    Attributes:
        config: length, batches, optimiser.
        seed: of initialisation, order and dropout.
        folder: checkpoints and history; a run that finds some continues them.
        validate: dev metrics of the student; called by the first worker only.
        dev: dev pairs, for a gate that learns from them.
        first_step: updates that stages before this one made; the history counts on from there.
        on_checkpoint: called by the first worker after each checkpoint.
        stop: asked after each validation with its metrics; True ends the run there.
    """

    config: TrainingConfig
    seed: int
    folder: Path
    validate: Validate
    dev: TrainingData | None = None
    first_step: int = 0
    on_checkpoint: Callable[[], None] = lambda: None
    stop: Callable[[int, Mapping[str, float]], bool] = lambda step, metrics: False


def build_objective(student: Transformer, method: Method, worker: Worker) -> Objective:
    """Move to the worker's device, ready to train."""
    return Objective(student, method).to(worker.device).train()


def fit(objective: Objective, data: TrainingData, run: Run, worker: Worker) -> Progress:
    """Train to the last update, or continue to it. -> where the run stands.

    Raises:
        TrainingDiverged: the loss or its gradient is not finite; the last checkpoint is kept.
        DataError: there is nothing to train on.
    """
    if len(data) == 0:
        raise DataError(f"no pair is left to train on; left out: {dict(data.left_out)}")
    config = run.config
    optimizer = torch.optim.AdamW(
        [parameter for parameter in objective.parameters() if parameter.requires_grad],
        betas=(0.9, config.adam_beta2),
        eps=1e-9,
        weight_decay=config.weight_decay,
        fused=True,
    )
    checkpoints = Checkpoints(run.folder / "checkpoints", keep=config.average_last)
    progress = checkpoints.restore(objective, optimizer)
    if progress.step:
        logger.info("continuing at update %d of %d", progress.step, config.updates)
    history = None
    if worker.is_first:
        history = History(run.folder / HISTORY, step=run.first_step + progress.step)
    step = _Step(objective, optimizer, data, run, worker)
    meter = _Meter(worker)
    every = _log_every(config.checkpoint_every)
    while progress.step < config.updates:
        progress = step.take(progress, meter)
        last = progress.step == config.updates
        if history and (progress.step % every == 0 or last):
            history.append(
                {"step": run.first_step + progress.step, "time": time.time(), **meter.flush()}
            )
        if progress.step % config.checkpoint_every == 0 or last:
            stopped = False
            if worker.is_first and history:
                if progress.step % config.validate_every == 0 or last:
                    metrics = run.validate(objective.student)
                    history.append(
                        {"step": run.first_step + progress.step, "time": time.time(), **metrics}
                    )
                    stopped = run.stop(progress.step, metrics)
                checkpoints.save(objective, optimizer, progress)
                run.on_checkpoint()
            worker.barrier()
            meter.restart_clock()
            if worker.total([torch.tensor(float(stopped))])[0]:  # only the first worker knows
                return progress
    return progress


class _Step:
    """Makes updates. Knows which rows belong to which update."""

    def __init__(
        self,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        data: TrainingData,
        run: Run,
        worker: Worker,
    ) -> None:
        self.objective = objective
        self.optimizer = optimizer
        self.data = data
        self.run = run
        self.worker = worker
        self.plan = data.plan(tokens_per_update=run.config.tokens_per_update, seed=run.seed)
        self.per_epoch = self.plan.batches_per_epoch()
        self.epoch, self.batches = -1, list[Rows]()
        self.parallel: nn.Module = objective
        self.gate_step: GateStep | None = None
        if learns_from_dev(objective.method):
            assert run.dev is not None, "a run whose gate learns from dev is given dev"
            self.gate_step = GateStep(
                objective.student,
                objective.method,
                optimizer,
                run.dev,
                seed=run.seed,
                worker=worker,
            )
        if worker.world_size > 1:
            if self.gate_step is not None:
                DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(  # type: ignore[no-untyped-call]
                    objective, self.gate_step.names
                )
            self.parallel = DistributedDataParallel(objective, forward_sync_buffers=False)

    def take(self, progress: Progress, meter: "_Meter") -> Progress:
        """Make the update after `progress`."""
        started = time.perf_counter()
        number = progress.step + 1
        method = self.objective.method
        torch.manual_seed(derive_seed("update", self.run.seed, number, self.worker.rank))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(
                self.run.config.schedule, step=number, updates=self.run.config.updates
            )
        method.begin(Clock(number, self.run.config.updates, progress.step // self.per_epoch))
        rows = self._rows(progress.step)
        batch, counts = self._batch(rows)
        learns = self.worker.rank < len(rows)
        loss = self._backward(batch, counts, learns=learns)
        norm = nn.utils.clip_grad_norm_(
            self.objective.parameters(), self.run.config.clip_norm, foreach=True
        )
        averages = self._averages(loss, counts)
        self._check(number, averages, norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.gate_step is not None and number % self.gate_step.every == 0:
            self.gate_step.take(number, batch, counts, learns=learns)
        samples = self.worker.gather(loss.samples)
        tokens = sum(counts[per] for per in loss.terms if per is not Per.SENTENCE)
        seconds = time.perf_counter() - started
        metrics = method.after_update(averages, samples)
        meter.add(metrics, norm=float(norm), rate=self.optimizer.param_groups[0]["lr"],
                  tokens=tokens)  # fmt: skip
        return replace(
            progress,
            step=number,
            target_tokens=progress.target_tokens + tokens,
            train_seconds=progress.train_seconds + seconds,
        )

    def _check(self, number: int, averages: Mapping[str, float], norm: Tensor) -> None:
        value = averages["loss"]
        if not (math.isfinite(value) and bool(norm.isfinite())):
            raise TrainingDiverged(
                f"update {number} with {type(self.objective.method).__name__}: the objective is "
                f"{value:g}, its gradient norm {float(norm):g}, parts {averages}; the checkpoint "
                "before it is kept; lower the learning rate's peak or lengthen the warm-up"
            )

    def _rows(self, step: int) -> Rows:
        epoch, index = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            self.epoch, self.batches = epoch, self.plan.epoch(epoch)
        return self.batches[index]

    def _batch(self, rows: Rows) -> tuple[Batch, dict[Per, int]]:
        """This worker's share of an update, and what the whole update's sums are divided by."""
        method, worker = self.objective.method, self.worker
        mine = rows[worker.rank :: worker.world_size]
        has_rows = len(mine) > 0
        mine = mine if has_rows else rows[:1]
        batch = self.data.batch(mine, device=worker.device)
        with torch.no_grad():
            batch = method.prepare(self.objective.student, batch)
            batch = self.data.with_teacher(batch, mine, method)
        counts = self.data.counts(rows)
        if (made := batch.targets.get(View.STUDENT)) is not None:
            own = torch.tensor(float(len(made.labels_N) * has_rows))
            counts[Per.STUDENT] = int(worker.total([own])[0])
        return batch, counts

    def _backward(self, batch: Batch, counts: Mapping[Per, int], *, learns: bool) -> Loss:
        """Gradients of this worker's share; DDP averages over workers, so scale them back.

        A worker without rows takes part in everything and adds nothing.
        """
        output: tuple[Tensor, Loss] = self.parallel(batch, counts)
        value, loss = output
        torch.autograd.backward(value * (self.worker.world_size if learns else 0))
        if learns:
            return loss
        return Loss(
            terms={per: 0 * total for per, total in loss.terms.items()},
            parts={name: (0 * total, per) for name, (total, per) in loss.parts.items()},
            samples={name: values[:0] for name, values in loss.samples.items()},
        )

    def _averages(self, loss: Loss, counts: Mapping[Per, int]) -> dict[str, float]:
        """Every part and the objective itself, over all workers."""
        sums = [*(t for t in loss.terms.values()), *(t for t, _ in loss.parts.values())]
        units = [*loss.terms, *(per for _, per in loss.parts.values())]
        means = [s / counts[per] for s, per in zip(self.worker.total(sums), units, strict=True)]
        objective = sum(means[: len(loss.terms)])
        parts = dict(zip(loss.parts, means[len(loss.terms) :], strict=True))
        return {"loss": objective, **parts}


class _Meter:
    """Averages metrics between two rows of the history."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.rows: list[Mapping[str, float]] = []
        self.tokens = 0
        self.rate = 0.0
        self.started = time.perf_counter()

    def add(self, metrics: Mapping[str, float], *, norm: float, rate: float, tokens: int) -> None:
        """Take the metrics of one update."""
        self.rows.append({**metrics, "gradient_norm": norm})
        self.rate = rate
        self.tokens += tokens

    def flush(self) -> dict[str, float]:
        """Means since the last flush, and the rate of tokens."""
        seconds = time.perf_counter() - self.started
        names = dict.fromkeys(name for row in self.rows for name in row)
        row = {
            f"train/{name}": float(np.mean([row[name] for row in self.rows if name in row]))
            for name in names
        }
        row |= {"train/learning_rate": self.rate, "train/tokens_per_second": self.tokens / seconds}
        self.rows, self.tokens = [], 0
        self.started = time.perf_counter()
        return row

    def restart_clock(self) -> None:
        """Leave the time of a checkpoint out of the rate."""
        self.started = time.perf_counter()


def _log_every(checkpoint_every: int) -> int:
    return max(n for n in range(1, LOG_EVERY + 1) if checkpoint_every % n == 0)
