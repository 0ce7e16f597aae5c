"""Nano models that are trained on the toy task until their outputs are peaked."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from kdray.config.methods.cross_entropy import CrossEntropyConfig
from kdray.config.model import ModelConfig
from kdray.fit.data import TrainingData
from kdray.methods.base import Per
from kdray.methods.cross_entropy import CrossEntropy
from kdray.model.ctranslate2 import FastTranslator, export
from kdray.model.storage import Shape, load_model, save_model, tensors
from kdray.model.transformer import Transformer
from kdray.schema import View
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import Tokenizer

TRAINING_PAIRS = 380
EPOCHS = 24  # BLEU of the rest is above 80 then, whatever rounding the processor has
POSITIONS = 40


@dataclass(frozen=True)
class Translators:
    """A model in both its forms, and 120 sources that it was not trained on."""

    model: Transformer
    fast: FastTranslator
    sources: list[list[int]]


@pytest.fixture(scope="session")
def all_translators(
    toy_pairs: list[tuple[str, str]], toy_tokenizers: dict[str, Tokenizer], shared_folder: Path
) -> Callable[[str], Translators]:
    """A function from a tokenizer's name to its translators; the first process to ask trains."""

    @cache
    def of(name: str) -> Translators:
        tokenizer = toy_tokenizers[name]
        src, ref = (list(side) for side in zip(*toy_pairs, strict=True))
        sources, references = tokenizer.encode_src(src), tokenizer.encode_tgt(ref)
        folder = shared_folder / f"translator-{name}"
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                folder.mkdir()
                model = train(tokenizer, sources[:TRAINING_PAIRS], references[:TRAINING_PAIRS])
                shape = Shape(
                    config=model.config,
                    src_vocab=tokenizer.src_vocab,
                    tgt_vocab=tokenizer.tgt_vocab,
                    shared=model.shared,
                    tokenizer=name,
                )
                save_model(folder, shape, tensors(model))
                export(model, tokenizer, folder)
        fast = FastTranslator(folder, tokenizer, positions=POSITIONS, threads=1)
        return Translators(load_model(folder).eval(), fast, sources[TRAINING_PAIRS:])

    return of


@pytest.fixture(params=["joint", "separate"])
def translators(
    request: pytest.FixtureRequest, all_translators: Callable[[str], Translators]
) -> Translators:
    return all_translators(request.param)


def train(tokenizer: Tokenizer, src: list[list[int]], ref: list[list[int]]) -> Transformer:
    torch.manual_seed(1)
    config = ModelConfig(preset="nano", dropout=0, max_length=POSITIONS)
    model = Transformer(
        config,
        src_vocab=tokenizer.src_vocab,
        tgt_vocab=tokenizer.tgt_vocab,
        shared=tokenizer.joint,
    )
    data = TrainingData(
        pair_ids=np.arange(len(src)),
        src=Sequences.from_lists(src),
        views={View.REFERENCE: Sequences.from_lists(ref)},
        distributions={},
        left_out={},
    )
    method = CrossEntropy(CrossEntropyConfig(kind="cross_entropy", label_smoothing=0.0), model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, betas=(0.9, 0.98))
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, total_iters=EPOCHS)
    plan = data.plan(tokens_per_update=300, seed=1)
    for epoch in range(EPOCHS):
        for rows in plan.epoch(epoch):
            batch = data.batch(rows, device=torch.device("cpu"))
            optimizer.zero_grad()
            loss = method(model, batch).terms[Per.REFERENCE] / data.counts(rows)[Per.REFERENCE]
            loss.backward()
            optimizer.step()
        decay.step()
    return model.eval()
