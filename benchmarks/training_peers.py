"""Other toolkits that `training.py` compares kdray with: one class and one line in `PEERS` each.

All are trained by the same loop. A class holds what differs: the model, the optimizer, the layout
of a batch and the call that gives the loss. A toolkit is imported only where its model is built, so
that this file can be imported without it.
"""

import logging
import sys
from abc import ABC, abstractmethod
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from training_setting import (
    LABEL_SMOOTHING,
    LEARNING_RATE,
    Setting,
    System,
    data_of,
    parallel,
    rows_of,
)
from turns import Turn

from kdray.config.model import ModelConfig
from kdray.fit.data import TrainingData
from kdray.fit.worker import Worker
from kdray.schema import View
from kdray.text.batching import Rows
from kdray.text.tokenizer import BOS, EOS, PAD

IGNORED = -100  # the label of a position that has none, in transformers


class Peer(ABC):
    """A model of another toolkit, ready to be trained.

    package: its name on PyPI. attentions: the implementations of attention, if there are several.
    """

    package: ClassVar[str]
    attentions: ClassVar[tuple[str, ...]] = ("",)
    model: nn.Module
    optimizer: torch.optim.Optimizer

    @abstractmethod
    def __init__(self, system: System, setting: Setting) -> None: ...

    @abstractmethod
    def batch(self, data: TrainingData, rows: Rows) -> dict[str, Any]:
        """The arguments with which the model is called for these pairs."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: dict[str, Any]) -> Tensor:
        """The mean over target tokens. `model` is `self.model`, or its data-parallel wrapper."""


class Marian(Peer):
    """MarianMTModel of transformers. It normalises after each layer, and has more biases."""

    package = "transformers"
    attentions = ("eager", "sdpa")

    def __init__(self, system: System, setting: Setting) -> None:
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
        self.model = MarianMTModel._from_config(config, attn_implementation=system.attention)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LEARNING_RATE, fused=True)

    def batch(self, data: TrainingData, rows: Rows) -> dict[str, Any]:
        """The labels are not shifted: the model does that."""
        src = torch.from_numpy(data.src.padded(rows, pad=PAD))
        labels = torch.from_numpy(data.views[View.REFERENCE].padded(rows, pad=IGNORED))
        return {"input_ids": src, "attention_mask": (src != PAD).long(), "labels": labels}

    def loss(self, model: nn.Module, batch: dict[str, Any]) -> Tensor:
        """The model's own loss, which has no label smoothing."""
        return torch.as_tensor(model(**batch, use_cache=False).loss)


class JoeyNMT(Peer):
    """The Transformer of JoeyNMT, with dropout also on attention weights and inner activations.

    JoeyNMT's builders make model, loss and optimizer, which are called as its trainer calls them.
    """

    package = "joeynmt"

    def __init__(self, system: System, setting: Setting) -> None:
        from joeynmt.builders import build_optimizer
        from joeynmt.config import _check_special_symbols
        from joeynmt.model import build_model
        from joeynmt.vocabulary import Vocabulary

        logging.disable(logging.INFO)  # it tells of all that it builds
        special = SimpleNamespace(**_check_special_symbols({}))
        assert (special.bos_id, special.eos_id) == (BOS, EOS)
        words = [str(number) for number in range(EOS + 1, setting.vocabulary)]
        vocabulary = Vocabulary(words, special)
        self.pad = special.pad_id
        self.model = build_model(_joeynmt_shape(setting.model), vocabulary, vocabulary)
        self.model.loss_function = ("crossentropy", LABEL_SMOOTHING)
        adamw = {"optimizer": "adamw", "learning_rate": LEARNING_RATE, "adam_betas": (0.9, 0.999)}
        self.optimizer = build_optimizer(adamw, self.model.parameters())

    def batch(self, data: TrainingData, rows: Rows) -> dict[str, Any]:
        """The fields of JoeyNMT's batch; references begin with `<s>` and end with `</s>`."""
        from joeynmt.batch import Batch

        src = torch.from_numpy(data.src.padded(rows, pad=self.pad))
        ref = torch.from_numpy(data.views[View.REFERENCE].padded(rows, pad=self.pad))
        batch = Batch(
            src=src,
            src_length=torch.from_numpy(data.src.lengths[rows]),
            src_prompt_mask=None,
            trg=F.pad(ref, (1, 0), value=BOS),
            trg_prompt_mask=None,
            indices=torch.from_numpy(rows),
            device=src.device,
            pad_index=self.pad,
            eos_index=EOS,
        )
        return vars(batch)

    def loss(self, model: nn.Module, batch: dict[str, Any]) -> Tensor:
        """The model's own loss, with label smoothing."""
        total = model(return_type="loss", **batch)[0]
        return torch.as_tensor(total / batch["ntokens"])


PEERS: dict[str, type[Peer]] = {"marian": Marian, "joeynmt": JoeyNMT}


def version(name: str, folder: Path) -> str | None:
    """Version of a peer's toolkit; None unless it is installed in the folder or with kdray."""
    places = [*sys.path, str(folder)]
    found = next(iter(metadata.distributions(name=PEERS[name].package, path=places)), None)
    return None if found is None else str(found.version)


def peer(turn: Turn, system: System, setting: Setting, worker: Worker, folder: Path) -> None:
    """Forward, backward, clipping and AdamW of another toolkit's model."""
    sys.path.append(str(setting.peers))  # last: where both have a package, kdray's is taken
    trainee = PEERS[system.name](system, setting)
    data = data_of(setting)
    batches = [
        trainee.batch(data, rows[worker.rank :: worker.world_size])
        for rows in rows_of(data, setting)
    ]
    model = parallel(trainee.model.train(), worker)
    bf16 = setting.precision != "fp32"
    for batch in batches:
        turn.wait()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = trainee.loss(model, batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        trainee.optimizer.step()
        trainee.optimizer.zero_grad()
    turn.wait()


def _joeynmt_shape(shape: ModelConfig) -> dict[str, Any]:
    side = {
        "type": "transformer",
        "num_heads": shape.heads,
        "hidden_size": shape.width,
        "ff_size": shape.feedforward,
        "dropout": shape.dropout,
        "layer_norm": "pre",
        "embeddings": {"embedding_dim": shape.width, "scale": True},
    }
    return {
        "tied_embeddings": True,
        "tied_softmax": True,
        "encoder": {**side, "num_layers": shape.encoder_layers},
        "decoder": {**side, "num_layers": shape.decoder_layers},
    }
