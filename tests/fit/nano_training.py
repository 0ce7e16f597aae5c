"""A training run that takes a second."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter

from kdray.config.methods.union import SingleMethodConfig
from kdray.config.model import ModelConfig
from kdray.config.training import TrainingConfig
from kdray.fit.data import TrainingData
from kdray.fit.objective import Objective, build_objective
from kdray.fit.record import Run
from kdray.fit.worker import Worker
from kdray.methods.base import Method
from kdray.methods.build import build_method
from kdray.model.transformer import Transformer
from kdray.schema import View
from kdray.teacher.own import OnlineModels
from kdray.teacher.topk import TopK, compress
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import EOS

VOCAB, PAIRS, KEPT = 40, 60, 6
MODEL = ModelConfig(preset="nano", width=16, feedforward=32, dropout=0.1, max_length=32)
METHODS = {
    "cross_entropy": {"kind": "cross_entropy"},
    **{
        stabiliser["kind"]: {
            "kind": "hybrid",
            "gate": {"kind": "sentence", "stabiliser": stabiliser},
        }
        for stabiliser in (
            {"kind": "prior"},
            {"kind": "centred", "momentum": 0.9},
            {"kind": "bilevel", "every": 2, "dev_tokens": 64},
        )
    },
    "selective": {"kind": "selective", "queue": 200},
    "on_policy": {"kind": "on_policy"},
    "imitation": {"kind": "imitation"},
}
TRAINING = TrainingConfig.model_validate(
    {
        "updates": 30,
        "tokens_per_update": 64,
        "schedule": {"kind": "cosine", "peak": 0.01, "warmup": 5},
        "checkpoint_every": 5,
        "validate_every": 10,
        "averaging": {"kind": "last", "checkpoints": 2},
    }
)

EARLY = {"metric": "loss", "patience": 2}
TURN = 1.0  # distance from the initial weights that `judge` likes best; passed about update 10


def changed(**values: Any) -> TrainingConfig:
    return TrainingConfig.model_validate({**TRAINING.model_dump(), **values})


def random_sequences(rng: np.random.Generator) -> Sequences:
    """60 sequences of 3 to 8 tokens with `</s>`; the first has 20, more than a small batch."""
    lengths = [19, *rng.integers(2, 8, PAIRS - 1)]
    return Sequences.from_lists([[*rng.integers(4, VOCAB, n), EOS] for n in lengths])


def training_data(method: Method) -> TrainingData:
    """What a method reads: of what the student writes only a teacher can speak, else top k."""
    teacher = new_teacher() if View.STUDENT in method.needs.distributions else None
    rng = np.random.default_rng(7)
    torch.manual_seed(7)
    views = {View.REFERENCE: random_sequences(rng), View.HYPOTHESIS: random_sequences(rng)}
    src, pair_ids = random_sequences(rng), np.arange(PAIRS)
    distributions = {}
    for view in () if teacher else method.needs.distributions:
        offsets = views[view].offsets
        logits = 3 * torch.randn(int(offsets[-1]), VOCAB)
        labels = torch.from_numpy(views[view].values)
        kept = compress(logits, labels, k=KEPT, temperatures=(1.0,))
        stored = TopK(
            folder=Path(),
            pair_ids=pair_ids,
            offsets=offsets,
            temperatures=np.ones(1),
            **{name: values.numpy() for name, values in kept._asdict().items()},
        )
        distributions[view] = stored.rows(np.arange(PAIRS))
    return TrainingData(
        pair_ids=pair_ids,
        src=src,
        views={view: views[view] for view in method.needs.views},
        distributions=distributions,
        left_out={},
        teacher=teacher,
    )


def dev_data() -> TrainingData:
    """Other pairs, for gates that learn from dev."""
    rng = np.random.default_rng(8)
    src, refs = random_sequences(rng), random_sequences(rng)
    return TrainingData(np.arange(PAIRS), src, {View.REFERENCE: refs}, {}, {})


def new_teacher() -> OnlineModels:
    torch.manual_seed(4)
    return OnlineModels([Transformer(MODEL, src_vocab=VOCAB, tgt_vocab=VOCAB, shared=True)])


def new_objective(method: str, *, dropout: float = 0.1, worker: Worker | None = None) -> Objective:
    config: SingleMethodConfig = TypeAdapter(SingleMethodConfig).validate_python(METHODS[method])
    torch.manual_seed(3)
    model = MODEL.model_copy(update={"dropout": dropout})
    student = Transformer(model, src_vocab=VOCAB, tgt_vocab=VOCAB, shared=True)
    return build_objective(student, build_method(config, student=student), worker or Worker())


def validate(model: Transformer) -> dict[str, float]:
    """Numbers of the weights. It draws random numbers, which must not reach the training."""
    torch.rand(3)
    return {"dev/sum": float(model.output_weight.detach().double().sum())}


def judge(model: Transformer) -> dict[str, float]:
    """Metrics that become better and then worse, whatever a process has seen before."""
    start = new_objective("cross_entropy").student
    way = float((model.output_weight.detach() - start.output_weight.detach()).norm())
    loss = abs(way - TURN)
    return {"dev/loss": loss, "dev/bleu": -loss, "dev/chrf": way}


def new_run(folder: Path, config: TrainingConfig = TRAINING, **changes: Any) -> Run:
    looks = judge if config.early_stopping else validate
    run = Run(config=config, seed=5, folder=folder, validate=looks, dev=dev_data())
    return replace(run, **changes)
