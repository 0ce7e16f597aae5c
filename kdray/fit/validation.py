"""Scores a model in training on dev: loss on references, BLEU and chrF of greedy translations."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kdray.methods.base import Batch, packed_states
from kdray.methods.kernel import token_losses
from kdray.methods.sequences import build_target
from kdray.model.ctranslate2 import FastTranslator, export
from kdray.model.generate import SearchOptions
from kdray.model.transformer import Transformer
from kdray.schema import View
from kdray.scoring.metrics import score
from kdray.text.batching import cuts
from kdray.text.encoded import EncodedSplit
from kdray.text.tokenizer import PAD, Tokenizer

TOKENS_PER_BATCH = 8192


@dataclass(frozen=True, slots=True)
class Validator:
    """Scores a model on dev."""

    dev: EncodedSplit
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
        device = model.output_weight.device
        lengths = self.dev.ref.lengths
        order = np.argsort(lengths, kind="stable")
        total = 0.0
        for rows in np.split(order, cuts(lengths[order], most=TOKENS_PER_BATCH)):
            src = torch.from_numpy(self.dev.src.padded(rows, pad=PAD)).to(device)
            target = build_target(self.dev.ref, rows, device=device)
            batch = Batch(src_BS=src, src_mask_BS=src != PAD, targets={View.REFERENCE: target})
            states = packed_states(model, batch, View.REFERENCE)
            losses = token_losses(states, model.output_weight, labels_N=target.labels_N)
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
