"""What all systems of `training.py` have in common: the setting, its batches, the baseline."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flops import Size
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from world import size_of

from kdray.config.methods.cross_entropy import CrossEntropyConfig
from kdray.config.model import ModelConfig
from kdray.config.training import TrainingConfig
from kdray.fit.assemble import Signals, assemble
from kdray.fit.data import TrainingData
from kdray.fit.worker import Worker
from kdray.schema import View
from kdray.text.batching import Rows

SEED = 1
LENGTH = 10**5  # updates of the training whose first ones are timed: no checkpoint falls among them
LEARNING_RATE = 1e-4
LABEL_SMOOTHING = 0.1
BASELINE = CrossEntropyConfig(kind="cross_entropy", label_smoothing=LABEL_SMOOTHING)


@dataclass(frozen=True)
class Setting:
    """What all systems of a race have in common.

    encoded: the folder that `World.write` has written. updates: the number of batches.
    peers: the folder where other toolkits are installed.
    """

    model: ModelConfig
    vocabulary: int
    tokens: int
    precision: str
    updates: int
    encoded: Path
    peers: Path

    @property
    def training(self) -> TrainingConfig:
        """A long training with kdray's defaults, of which only the first updates are made."""
        return TrainingConfig.model_validate(
            {
                "updates": LENGTH,
                "tokens_per_update": self.tokens,
                "schedule": {"kind": "inverse_sqrt", "peak": LEARNING_RATE, "warmup": 1},
                "checkpoint_every": LENGTH,
                "validate_every": LENGTH,
                "precision": self.precision,
            }
        )


@dataclass(frozen=True)
class System:
    """One way to train, as several processes with some threads each.

    attention, products: how a peer computes attention and matrix products; see `training.py`.
    """

    name: str
    workers: int
    threads: int
    attention: str = ""
    products: str = ""

    @property
    def form(self) -> str:
        """How a peer computes, as text; empty for kdray."""
        return f"{self.attention} {self.products}".strip()

    def __str__(self) -> str:
        return f"{self.name} {self.workers}x{self.threads} {self.form}".strip()


def data_of(setting: Setting) -> TrainingData:
    """The training data that a job would assemble for the baseline."""
    most = setting.training.max_tokens
    needs = BASELINE.needs()
    return assemble(needs, encoded=setting.encoded, signals=Signals(), max_tokens=most)


def rows_of(data: TrainingData, setting: Setting) -> Iterator[Rows]:
    """The pairs of each update, as kdray's loop takes them."""
    plan = data.plan(tokens_per_update=setting.tokens, seed=SEED)
    per_epoch = plan.batches_per_epoch()
    for step in range(setting.updates):
        epoch, index = divmod(step, per_epoch)
        yield plan.epoch(epoch)[index]


def sizes_of(setting: Setting) -> list[Size]:
    """The size of each update."""
    data = data_of(setting)
    return [size_of(data.src, data.views[View.REFERENCE], rows) for rows in rows_of(data, setting)]


def parallel(model: nn.Module, worker: Worker) -> nn.Module:
    """The model, wrapped so that gradients are averaged over all workers."""
    if worker.world_size == 1:
        return model
    return DistributedDataParallel(model, forward_sync_buffers=False)
