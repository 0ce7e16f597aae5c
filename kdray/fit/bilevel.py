"""Weights of losses that learn from dev: one update of the student, then one step of theirs.

After the update θ' = θ − η·Σ_i (g_i·a_i + (1−g_i)·b_i), with a_i and b_i the gradients of the two
losses that g_i weighs, the dev loss has the gradient −η·v·(a_i − b_i) in g_i, where v is its
gradient in θ'. v·a_i is the change of loss i along v, taken as a central difference: two
forward passes and no second derivative (Liu et al. 2019, DARTS, equations 6 to 8). It is taken
around θ', where DARTS takes it around θ; they agree up to O(η). The factor η is left out, since
Adam does not see the size of a gradient.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from kdray.config.methods.cross_entropy import CrossEntropyConfig
from kdray.fit.data import TrainingData
from kdray.fit.worker import Worker
from kdray.methods.base import Batch, DevStep, Per
from kdray.methods.cross_entropy import CrossEntropy
from kdray.model.transformer import Transformer
from kdray.seeds import derive_seed
from kdray.text.batching import Rows


class DevUpdater:
    """Takes a method's steps on dev, with the student in float32 whatever it is trained in.

    A difference of two losses that are nearly equal would drown in the rounding of bfloat16. The
    teacher is as the update has read it, which is the same on both sides of the difference.

    Args:
        student: the model that is trained.
        step: what the method lets learn from dev.
        optimizer: the run's own, which holds the moments of those parameters too.
        dev: dev pairs with references.
        seed: of the order of dev batches.
        worker: this process.
    """

    def __init__(
        self,
        student: Transformer,
        step: DevStep,
        optimizer: torch.optim.Optimizer,
        dev: TrainingData,
        *,
        seed: int,
        worker: Worker,
    ) -> None:
        self.student, self.step = student, step
        self.optimizer, self.dev, self.seed, self.worker = optimizer, dev, seed, worker
        config = CrossEntropyConfig(kind="cross_entropy", label_smoothing=0.0)
        self.loss = CrossEntropy(config, student)
        self.every = step.config.every
        self.batches = dev.plan(tokens_per_update=step.config.dev_tokens, seed=seed).epoch(0)

    def take(
        self, number: int, batches: Sequence[Batch], counts: Mapping[Per, int], *, learns: bool
    ) -> None:
        """Make the step after update `number`, which learned this worker's `batches`.

        A worker whose batches are no part of the update (`learns` is false) adds nothing.
        """
        gradients = self._dev_gradient(number)
        length = float(torch.stack([g.square().sum() for g in gradients]).sum().sqrt())
        if length == 0:
            return
        size = self.step.config.epsilon / length
        for batch in batches:
            pull_G = self._change_along(gradients, size, batch, counts)
            weights_G = self.step.weights(self.student, batch)
            torch.autograd.backward((-weights_G * pull_G).sum() * float(learns))
        for parameter in self.student.parameters():
            parameter.grad = None
        for parameter in self.step.parameters.values():
            assert parameter.grad is not None, "the weights depend on all their parameters"
            self.worker.sum_(parameter.grad)
        self.optimizer.step()  # skips what has no gradient
        self.optimizer.zero_grad()

    def _dev_gradient(self, number: int) -> list[Tensor]:
        """Gradient of the dev loss in the student's weights, over all workers."""
        draw = derive_seed("dev batch", self.seed, number)
        rows: Rows = self.batches[draw % len(self.batches)]
        mine = rows[self.worker.rank :: self.worker.world_size]
        self.student.eval()
        batch = self.dev.batch(mine if len(mine) else rows[:1], device=self.worker.device)
        total = self.loss(self.student, batch).terms[Per.REFERENCE]
        share = (1 if len(mine) else 0) / self.dev.counts(rows)[Per.REFERENCE]
        gradients = torch.autograd.grad(total * share, list(self.student.parameters()))
        self.student.train()
        for gradient in gradients:
            self.worker.sum_(gradient)
        return list(gradients)

    @torch.no_grad()
    def _change_along(
        self, direction: list[Tensor], size: float, batch: Batch, counts: Mapping[Per, int]
    ) -> Tensor:
        """(d/dε) of the difference of both losses, for each weight. -> [G]."""
        weights = list(self.student.parameters())
        kept = [weight.clone() for weight in weights]
        self.student.eval()
        sides = []
        for sign in (1, -1):
            for weight, start, along in zip(weights, kept, direction, strict=True):
                torch.add(start, along, alpha=sign * size, out=weight)
            sides.append(self.step.differences(self.student, batch, counts))
        for weight, start in zip(weights, kept, strict=True):
            weight.copy_(start)
        self.student.train()
        return (sides[0] - sides[1]) / (2 * size)
