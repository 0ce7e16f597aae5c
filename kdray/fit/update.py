"""One update: its rows, its batches, their gradient over all workers, and the step.

Workers share every update: they take every n-th of its rows, and sums are divided by counts of the
whole update. What does not fit into memory at once is learned in several passes, whose gradients
add up. Randomness is seeded anew for each update.
"""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from kdray.config.training import TrainingConfig
from kdray.errors import TrainingDiverged
from kdray.fit.bilevel import DevUpdater
from kdray.fit.checkpoint import Progress
from kdray.fit.data import TrainingData
from kdray.fit.meter import Meter
from kdray.fit.objective import Objective
from kdray.fit.record import Run
from kdray.fit.schedule import learning_rate
from kdray.fit.worker import Worker
from kdray.methods.base import Batch, Clock, Loss, Per
from kdray.schema import View
from kdray.seeds import derive_seed
from kdray.text.batching import Rows, cuts


@dataclass(frozen=True, slots=True)
class Share:
    """A worker's part of an update.

    Attributes:
        batches: one for each pass.
        counts: what sums are divided by; of the whole update.
        learns: False for a worker without rows, which takes part in everything and adds nothing.
    """

    batches: Sequence[Batch]
    counts: Mapping[Per, int]
    learns: bool


def new_optimizer(objective: Objective, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW over all that an objective learns, before its first update."""
    return torch.optim.AdamW(
        [parameter for parameter in objective.parameters() if parameter.requires_grad],
        betas=(0.9, config.adam_beta2),
        eps=1e-9,
        weight_decay=config.weight_decay,
        fused=True,
    )


class Updater:
    """Makes updates. Knows which rows belong to which.

    Args:
        objective: what is trained.
        optimizer: of its parameters.
        data: what it learns from.
        run: settings of the run.
        worker: this process.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        data: TrainingData,
        run: Run,
        worker: Worker,
    ) -> None:
        self.objective = objective
        self.parameters = list(objective.parameters())  # walking through modules takes its time
        self.optimizer = optimizer
        self.data = data
        self.run, self.config, self.worker = run, run.config, worker
        self.plan = data.plan(tokens_per_update=self.config.tokens_per_update, seed=run.seed)
        self.per_epoch = self.plan.batches_per_epoch()
        self.epoch, self.batches = -1, list[Rows]()
        self.dev_updater: DevUpdater | None = None
        if (step := objective.method.dev_step()) is not None:
            assert run.dev is not None, "a run that learns from dev is given dev"
            self.dev_updater = DevUpdater(
                objective.student, step, optimizer, run.dev, seed=run.seed, worker=worker
            )
        self.parallel: nn.Module = objective
        if worker.world_size > 1:
            step = None if self.dev_updater is None else self.dev_updater.step
            self.parallel = _parallel(objective, step.parameters if step else {})

    def take(self, progress: Progress, meter: Meter) -> Progress:
        """Make the update after `progress`.

        Raises:
            TrainingDiverged: the loss or its gradient is not finite; nothing was changed.
        """
        started = time.perf_counter()
        number = progress.step + 1
        rate = self._begin(number, epoch=progress.step // self.per_epoch)
        share = self._share(self._rows(progress.step))
        loss = self._backward(share)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm, foreach=True)
        averages = self._averages(loss, share.counts)
        self._check(number, averages, norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.dev_updater is not None and number % self.dev_updater.every == 0:
            self.dev_updater.take(number, share.batches, share.counts, learns=share.learns)
        samples = self.worker.gather(loss.samples)
        metrics = self.objective.method.after_update(averages, samples)
        tokens = sum(share.counts[per] for per in loss.terms if per is not Per.SENTENCE)
        meter.add({**metrics, "gradient_norm": float(norm)}, rate=rate, tokens=tokens)
        return replace(
            progress,
            step=number,
            target_tokens=progress.target_tokens + tokens,
            train_seconds=progress.train_seconds + time.perf_counter() - started,
        )

    def _begin(self, number: int, *, epoch: int) -> float:
        """Set what update `number` depends on: randomness, method, rate. -> the rate."""
        seed = derive_seed("update", self.run.seed, number, self.worker.rank)
        # As `torch.manual_seed`, which would also note the whole stack for three other devices.
        torch.default_generator.manual_seed(seed)
        if self.worker.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        self.objective.method.begin(Clock(number, self.config.updates, epoch))
        rate = learning_rate(
            self.config.schedule,
            step=number,
            updates=self.config.updates,
            width=self.objective.student.config.width,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

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

    def _share(self, rows: Rows) -> Share:
        mine = rows[self.worker.rank :: self.worker.world_size]
        learns = len(mine) > 0
        mine = mine if learns else rows[:1]
        passes = [mine]
        if self.run.tokens_per_pass is not None:
            lengths = self.plan.tgt_lengths[mine]
            passes = np.split(mine, cuts(lengths, most=self.run.tokens_per_pass))
        batches = [self._batch(part) for part in passes]
        counts = self.data.counts(rows)
        made = [batch.targets.get(View.STUDENT) for batch in batches]
        if any(target is not None for target in made):
            own = sum(len(target.labels_N) for target in made if target is not None)
            counts[Per.STUDENT] = int(self.worker.total([torch.tensor(float(own * learns))])[0])
        return Share(batches, counts, learns)

    @torch.no_grad()
    def _batch(self, rows: Rows) -> Batch:
        student, method = self.objective.student, self.objective.method
        with self.objective.products():
            return self.data.learned(rows, method, student, device=self.worker.device)

    def _backward(self, share: Share) -> Loss:
        """Add up the gradients of all passes; DDP averages over workers, so scale them back."""
        scale = self.worker.world_size if share.learns else 0
        losses = []
        for number, batch in enumerate(share.batches, start=1):
            with self._synchronised(last=number == len(share.batches)):
                output: tuple[Tensor, Loss] = self.parallel(batch, share.counts)
                value, loss = output
                torch.autograd.backward(value * scale)
            losses.append(loss)
        total = Loss.sum(losses)
        return total if share.learns else total.nothing()

    def _synchronised(self, *, last: bool) -> AbstractContextManager[None]:
        """Gradients are exchanged once an update, in the last pass."""
        if last or not isinstance(self.parallel, DistributedDataParallel):
            return nullcontext()
        return self.parallel.no_sync()

    def _averages(self, loss: Loss, counts: Mapping[Per, int]) -> dict[str, float]:
        """Every part and the objective itself, over all workers."""
        sums = [*(t for t in loss.terms.values()), *(t for t, _ in loss.parts.values())]
        units = [*loss.terms, *(per for _, per in loss.parts.values())]
        means = [s / counts[per] for s, per in zip(self.worker.total(sums), units, strict=True)]
        objective = sum(means[: len(loss.terms)])
        parts = dict(zip(loss.parts, means[len(loss.terms) :], strict=True))
        return {"loss": objective} | parts | {"loss": objective}  # no part is called so instead


def _parallel(
    objective: Objective, left_out: Mapping[str, nn.Parameter]
) -> DistributedDataParallel:
    """Wrap an objective so that gradients are averaged over workers in each backward pass.

    What learns from dev is left out: an update gives it no gradient, for which DDP would wait in
    vain, and `DevUpdater` sums the gradients of its own step. DDP takes up the parameters that
    require a gradient at the time it is made, and no others later.
    """
    for parameter in left_out.values():
        parameter.requires_grad_(False)
    parallel = DistributedDataParallel(objective, forward_sync_buffers=False)
    for parameter in left_out.values():
        parameter.requires_grad_(True)
    return parallel
