"""Scores a model in training on dev: loss on references, BLEU and chrF of greedy translations."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kdray.fit.data import TrainingData
from kdray.methods.base import packed_states
from kdray.methods.kernel import token_losses
from kdray.model.ctranslate2 import FastTranslator, export
from kdray.model.generate import SearchOptions
from kdray.model.transformer import Transformer
from kdray.schema import View
from kdray.scoring.metrics import score
from kdray.text.batching import cuts
from kdray.text.tokenizer import Tokenizer

TOKENS_PER_BATCH = 8192


@dataclass(frozen=True, slots=True)
class Validator:
    """Scores a model on dev."""

    dev: TrainingData
    references: Sequence[str]
    tokenizer: Tokenizer
    bleu_tokenize: str
    threads: int

    def __call__(self, model: Transformer) -> dict[str, float]:
        """Dev metrics. The model is in training mode afterwards."""
        model.eval()
        metrics = {"dev/loss": self.loss(model), **self.quality(model)}
        model.train()
        return metrics

    @torch.no_grad()
    def loss(self, model: Transformer) -> float:
        """Cross-entropy on references in nats per token, without label smoothing."""
        lengths = self.dev.views[View.REFERENCE].lengths
        order = np.argsort(lengths, kind="stable")
        total = 0.0
        for rows in np.split(order, cuts(lengths[order], most=TOKENS_PER_BATCH)):
            batch = self.dev.batch(rows, device=model.output_weight.device)
            states = packed_states(model, batch, View.REFERENCE)
            labels = batch.targets[View.REFERENCE].labels_N
            losses = token_losses(states, model.output_weight, labels_N=labels)
            total += float(losses.hard_N.sum())
        return total / int(lengths.sum())

    def quality(self, model: Transformer) -> dict[str, float]:
        """BLEU and chrF of greedy translations."""
        with tempfile.TemporaryDirectory() as folder:
            export(model, self.tokenizer, Path(folder) / "model")
            translator = FastTranslator(
                Path(folder) / "model",
                self.tokenizer,
                positions=model.config.max_length,
                threads=self.threads,
            )
            src = [[int(i) for i in self.dev.src[row]] for row in range(len(self.dev))]
            hyps = translator.translate(src, SearchOptions())
        texts = self.tokenizer.decode_tgt([best.ids for best, *_ in hyps])
        scores = score(texts, self.references, bleu_tokenize=self.bleu_tokenize)
        return {"dev/bleu": scores.bleu, "dev/chrf": scores.chrf}
