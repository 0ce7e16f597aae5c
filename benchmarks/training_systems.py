"""The systems that `training.py` compares: what their processes do.

`kdray` is `kdray.fit.loop.fit` as a job calls it, stopped at the start of each update. The others
have all their batches padded in memory before the race starts.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from flops import Size
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from turns import Over, Turn
from world import size_of

from kdray.config import ModelConfig, TrainingConfig
from kdray.fit.assemble import Signals, assemble
from kdray.fit.data import TrainingData
from kdray.fit.loop import fit
from kdray.fit.machine import choose_precision, prepare
from kdray.fit.objective import Objective, build_objective
from kdray.fit.record import Run
from kdray.fit.worker import Worker
from kdray.methods.base import Clock
from kdray.methods.cross_entropy import CrossEntropy
from kdray.model.transformer import Transformer
from kdray.schema import View
from kdray.text.batching import Rows
from kdray.text.tokenizer import BOS, EOS, PAD

SEED = 1
LENGTH = 10**5  # updates of the training whose first ones are timed: no checkpoint falls among them
LABEL_SMOOTHING = 0.1
IGNORED = -100  # the label of a position that has none, in transformers
MEDIUM = "medium"  # what `kdray.fit.machine.prepare` sets
BASELINE = CrossEntropy((View.REFERENCE,), label_smoothing=LABEL_SMOOTHING)


@dataclass(frozen=True)
class Setting:
    """What all systems of a race have in common.

    encoded: a folder of `World.write`. updates: as many batches are made ready.
    peers: where transformers is installed.
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
        """The first updates of a long training, with kdray's defaults."""
        return TrainingConfig.model_validate(
            {
                "updates": LENGTH,
                "tokens_per_update": self.tokens,
                "schedule": {"kind": "inverse_sqrt", "peak": 1e-4, "warmup": 1},
                "checkpoint_every": LENGTH,
                "validate_every": LENGTH,
                "precision": self.precision,
            }
        )


def data_of(method: CrossEntropy, setting: Setting) -> TrainingData:
    """What a job would read for the method."""
    most = setting.training.max_tokens
    return assemble(method, encoded=setting.encoded, signals=Signals(), max_tokens=most)


def rows_of(data: TrainingData, setting: Setting) -> Iterator[Rows]:
    """Which pairs kdray's loop learns, update by update."""
    plan = data.plan(tokens_per_update=setting.tokens, seed=SEED)
    per_epoch = plan.batches_per_epoch()
    for step in range(setting.updates):
        epoch, index = divmod(step, per_epoch)
        yield plan.epoch(epoch)[index]


def sizes_of(setting: Setting) -> list[Size]:
    """Of each update."""
    data = data_of(BASELINE, setting)
    return [size_of(data.src, data.views[View.REFERENCE], rows) for rows in rows_of(data, setting)]


@dataclass(frozen=True)
class System:
    """One way to train, as several processes with some threads each.

    attention, products: of marian, how it is computed; see `training.py`.
    """

    name: str
    workers: int
    threads: int
    attention: str = ""
    products: str = MEDIUM

    @property
    def form(self) -> str:
        """How a peer is computed; empty for kdray."""
        return f"{self.attention} {self.products}" if self.attention else ""

    def __str__(self) -> str:
        return f"{self.name} {self.workers}x{self.threads} {self.form}".strip()


def work(turn: Turn, rank: int, system: System, setting: Setting, folder: Path) -> None:
    """Train until there is no next turn; `folder` belongs to the system."""
    prepare(threads=system.threads)
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
    """The baseline, each of whose updates waits for its turn."""

    def __init__(self, turn: Turn) -> None:
        super().__init__((View.REFERENCE,), label_smoothing=LABEL_SMOOTHING)
        self.turn = turn

    def begin(self, clock: Clock) -> None:
        """The loop calls this first in an update, so one turn lasts from here to here."""
        super().begin(clock)
        self.turn.wait()


def kdray(turn: Turn, system: System, setting: Setting, worker: Worker, folder: Path) -> None:
    """The whole loop: padding, forward, backward, clipping, AdamW, logging."""
    objective = _objective(_Paced(turn), setting, worker)
    run = Run(setting.training, seed=SEED, folder=folder, validate=lambda _: {})
    fit(objective, data_of(objective.method, setting), run, worker)


def bare(turn: Turn, system: System, setting: Setting, worker: Worker, folder: Path) -> None:
    """Forward, backward and AdamW of kdray's model and loss, and nothing else."""
    objective = _objective(BASELINE, setting, worker)
    data = data_of(BASELINE, setting)
    batches = [
        (
            data.batch(rows[worker.rank :: worker.world_size], device=worker.device),
            data.counts(rows),
        )
        for rows in rows_of(data, setting)
    ]
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-4, fused=True)
    parallel = _parallel(objective, worker)
    for batch, counts in batches:
        turn.wait()
        value, _ = parallel(batch, counts)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
    turn.wait()


def marian(turn: Turn, system: System, setting: Setting, worker: Worker, folder: Path) -> None:
    """MarianMTModel of transformers, with a loop of its own that clips and takes AdamW's step."""
    model = _marian_model(system, setting).train()
    data = data_of(BASELINE, setting)
    batches = [_marian_batch(data, rows[worker.rank :: worker.world_size])
               for rows in rows_of(data, setting)]  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    parallel = _parallel(model, worker)
    bf16 = setting.precision != "fp32"
    for batch in batches:
        turn.wait()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = parallel(**batch, use_cache=False).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad()
    turn.wait()


SYSTEMS: dict[str, Callable[[Turn, System, Setting, Worker, Path], None]] = {
    "kdray": kdray,
    "bare": bare,
    "marian": marian,
}


def _objective(method: CrossEntropy, setting: Setting, worker: Worker) -> Objective:
    size = setting.vocabulary
    student = Transformer(setting.model, src_vocab=size, tgt_vocab=size, shared=True)
    precision = choose_precision(setting.training.precision, worker)
    return build_objective(student, method, worker, precision=precision)


def _parallel(model: nn.Module, worker: Worker) -> nn.Module:
    if worker.world_size == 1:
        return model
    return DistributedDataParallel(model, forward_sync_buffers=False)


def _marian_model(system: System, setting: Setting) -> nn.Module:
    """Of the same shape. It normalises after each layer, not before, and has biases of its own."""
    sys.path.append(str(setting.peers))  # last: where both have a package, kdray's is taken
    from transformers import MarianConfig, MarianMTModel

    shape = setting.model
    config = MarianConfig(
        vocab_size=setting.vocabulary,
        d_model=shape.width,
        encoder_layers=shape.encoder_layers,
        decoder_layers=shape.decoder_layers,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=shape.feedforward,
        decoder_ffn_dim=shape.feedforward,
        activation_function="relu",
        dropout=shape.dropout,
        max_position_embeddings=shape.max_length,
        scale_embedding=True,
        pad_token_id=PAD,
        eos_token_id=EOS,
        forced_eos_token_id=EOS,
        decoder_start_token_id=BOS,
    )
    model: nn.Module = MarianMTModel._from_config(config, attn_implementation=system.attention)
    return model


def _marian_batch(data: TrainingData, rows: Rows) -> dict[str, Tensor]:
    src = torch.from_numpy(data.src.padded(rows, pad=PAD))
    labels = torch.from_numpy(data.views[View.REFERENCE].padded(rows, pad=IGNORED))
    return {"input_ids": src, "attention_mask": (src != PAD).long(), "labels": labels}
