"""A first run of every preset, with nothing set but its length, trains."""

from pathlib import Path

import numpy as np
import pytest
import torch
from nano_training import VOCAB, random_sequences

from kdray.config.methods.cross_entropy import CrossEntropyConfig
from kdray.config.model import PRESETS, ModelConfig
from kdray.config.training import TrainingConfig
from kdray.fit.checkpoint import Progress
from kdray.fit.data import TrainingData
from kdray.fit.meter import Meter
from kdray.fit.objective import build_objective
from kdray.fit.record import Run
from kdray.fit.update import Updater, new_optimizer
from kdray.fit.worker import Worker
from kdray.methods.cross_entropy import CrossEntropy
from kdray.model.transformer import Transformer
from kdray.schema import View

UPDATES = 16
LARGE = ("medium", "base")


@pytest.mark.slow
@pytest.mark.parametrize(
    "preset",
    [*PRESETS][:-2] + [pytest.param(large, marks=pytest.mark.long) for large in [*PRESETS][-2:]],
)
def test_a_preset_learns_to_copy_with_the_default_rate(preset):
    """Copying short sentences: from ln V, about 3.7 nats a token, to three quarters of it."""
    src = random_sequences(np.random.default_rng(1))
    data = TrainingData(np.arange(len(src)), src, {View.REFERENCE: src}, {}, {})
    torch.manual_seed(1)
    student = Transformer(ModelConfig(preset=preset), src_vocab=VOCAB, tgt_vocab=VOCAB, shared=True)
    method = CrossEntropy(CrossEntropyConfig(kind="cross_entropy", label_smoothing=0.0), student)
    config = TrainingConfig(
        updates=UPDATES, tokens_per_update=96, schedule={"kind": "constant_cooldown", "warmup": 8}
    )
    objective = build_objective(student, method, Worker())
    run = Run(config=config, seed=1, folder=Path("none"), validate=lambda student: {})
    updater = Updater(objective, new_optimizer(objective, config), data, run, Worker())
    progress, meter = Progress(), Meter()
    for _ in range(UPDATES):
        progress = updater.take(progress, meter)
    losses = [row["loss"] for row in meter.rows]
    assert np.mean(losses[-5:]) < 0.75 * losses[0], losses
