"""Means of a model's weights over a run, taken during the run or from its last checkpoints.

Both running means are m += w·(θ − m), where w depends only on the number of the update, so a
checkpoint has to hold nothing but the mean itself.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from kdray.config.training import EmaConfig, LastAveragingConfig, SwaConfig, TrainingConfig
from kdray.errors import DataError
from kdray.fit.checkpoint import Checkpoints, Progress


class RunningMean:
    """A mean of a module's parameters over updates.

    Args:
        module: has the parameters.
        weight: gives w for the number of an update; with 0 its parameters do not enter the mean.
    """

    def __init__(self, module: nn.Module, weight: Callable[[int], float]) -> None:
        self.named = dict(module.named_parameters())
        self.weight = weight
        self.means: dict[str, Tensor] = {}

    @torch.no_grad()
    def take(self, step: int) -> None:
        """Add the parameters after update `step` to the mean."""
        weight = self.weight(step)
        if weight == 0:
            return
        if weight == 1 or not self.means:
            self.means = {name: value.detach().clone() for name, value in self.named.items()}
            return
        for name, mean in self.means.items():
            mean.lerp_(self.named[name], weight)

    def restore(self, means: Mapping[str, Tensor], *, step: int, what: object) -> None:
        """Continue the mean that a checkpoint of update `step` holds.

        Raises:
            DataError: it holds the mean of other tensors.
        """
        begun = any(self.weight(number) > 0 for number in range(1, step + 1))
        wanted = {name: tuple(value.shape) for name, value in self.named.items()} if begun else {}
        stored = {name: tuple(value.shape) for name, value in means.items()}
        if wanted != stored:
            raise DataError(
                f"{what}: its mean is of {len(stored)} tensors, this run's of {len(wanted)}, or of "
                "other shapes; it was left by a run with other averaging: remove the folder that "
                "it lies in, and run again"
            )
        device = next(iter(self.named.values())).device
        self.means = {name: means[name].to(device, copy=True) for name in wanted}


def running_mean(config: TrainingConfig, module: nn.Module) -> RunningMean | None:
    """The mean that is taken during a run; None if its averaging needs none."""
    averaging = config.effective_averaging()
    match averaging:
        case EmaConfig():
            return RunningMean(module, lambda step: ema_weight(step, decay=averaging.decay))
        case SwaConfig():
            snapshots = averaging.snapshots(config.updates)
            return RunningMean(module, lambda step: swa_weight(step, snapshots))
    return None


def ema_weight(step: int, *, decay: float) -> float:
    """(1 − d)/(1 − d^t): the mean is Σ d^(t−i)·θ_i / Σ d^(t−i) (Kingma and Ba 2015, section 3)."""
    return (1 - decay) / (1 - decay**step)


def swa_weight(step: int, snapshots: range) -> float:
    """1/n for the n-th snapshot, 0 for all other updates."""
    return 1 / (snapshots.index(step) + 1) if step in snapshots else 0.0


def averaged(
    config: TrainingConfig, checkpoints: Checkpoints, progress: Progress
) -> dict[str, Tensor] | None:
    """The averaged weights of a finished run, with its buffers; None without averaging.

    Raises:
        ArtifactDamaged: a checkpoint is missing or damaged.
    """
    averaging = config.effective_averaging()
    if isinstance(averaging, LastAveragingConfig) and averaging.checkpoints > 1:
        return checkpoints.average(last=averaging.checkpoints)
    if isinstance(averaging, EmaConfig | SwaConfig):
        path = checkpoints.path(chosen_step(config, progress))
        return {**checkpoints.weights(path), **checkpoints.means(path)}
    return None


def chosen_step(config: TrainingConfig, progress: Progress) -> int:
    """The update whose weights become the model: the last one, or with early stopping the best."""
    return progress.step if config.early_stopping is None else progress.selection.step
