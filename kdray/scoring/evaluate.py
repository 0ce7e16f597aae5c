"""Translate dev and the tests with a stored model, score the translations, time the decoding.

One model is decoded by CTranslate2; an ensemble, whose probabilities must be averaged at every
token, by the search in PyTorch.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kdray.artifacts import write_json
from kdray.config.recipe import EvaluationConfig
from kdray.errors import DataError
from kdray.model.ctranslate2 import FastTranslator, export
from kdray.model.generate import Hypothesis, SearchOptions, generate
from kdray.model.storage import load_model
from kdray.schema import Column, Split
from kdray.scoring.metrics import score
from kdray.scoring.result import write_hyps
from kdray.text.corpus import Corpus
from kdray.text.tokenizer import Tokenizer

VERSION = 1
SCORES = "scores.json"


Translate = Callable[[Sequence[Sequence[int]], SearchOptions], list[list[Hypothesis]]]


@dataclass(frozen=True, slots=True)
class EvaluationJob:
    """One stored model or an ensemble, all splits, all beams. Can be pickled cheaply."""

    models: tuple[Path, ...]
    corpus: Path
    config: EvaluationConfig

    def run(
        self,
        folder: Path,
        *,
        threads: int,
        progress: Callable[[str], None] = lambda what: None,
    ) -> Mapping[str, Any]:
        """Write `scores.json` and a file of translations for each split and beam. -> counts."""
        tokenizer = Tokenizer.load(self.models[0])
        models = [load_model(path) for path in self.models]
        positions = min(model.config.max_length for model in models)
        corpus = Corpus(self.corpus)
        splits = [str(Split.DEV), *(f"test-{name}" for name in corpus.tests)]
        rows: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory() as exported:
            translate: Translate = partial(generate, models)
            if len(models) == 1:
                export(models[0], tokenizer, Path(exported) / "model")
                translate = FastTranslator.load(
                    Path(exported) / "model", tokenizer, positions=positions, threads=threads
                ).translate
            for split in splits:
                table = corpus.table(split)
                src = tokenizer.encode_src(table[Column.SRC].to_pylist())
                _check_lengths(src, split, positions=positions)
                refs = table[Column.REF].to_pylist()
                for beam in self.config.beams:
                    progress(f"{split}, beam {beam}")
                    row = self._measure(translate, tokenizer, src, refs, beam)
                    hyps = row.pop("hyps")
                    name = f"{split}.beam{beam}.txt"
                    write_hyps(folder / name, hyps)
                    rows.append({"split": split, "beam": beam, "file": name, **row})
        write_json(folder / SCORES, rows)
        return {"splits": len(splits), "threads": threads}

    def _measure(
        self,
        translate: Translate,
        tokenizer: Tokenizer,
        src: Sequence[Sequence[int]],
        refs: Sequence[str],
        beam: int,
    ) -> dict[str, Any]:
        options = SearchOptions(beam=beam, length_penalty=self.config.length_penalty)
        began = time.perf_counter()
        found = [best for best, *_ in translate(src, options)]
        seconds = time.perf_counter() - began
        hyps = tokenizer.decode_tgt([hyp.ids for hyp in found])
        scores = score(hyps, refs, bleu_tokenize=self.config.bleu_tokenize)
        return {
            "hyps": hyps,
            "bleu": scores.bleu,
            "chrf": scores.chrf,
            "bleu_signature": scores.bleu_signature,
            "chrf_signature": scores.chrf_signature,
            "bleu_detail": scores.bleu_detail,
            "unfinished": sum(not hyp.finished for hyp in found),
            "tokens_per_second": sum(len(hyp.ids) for hyp in found) / seconds,
            "sentences_per_second": len(src) / seconds,
        }


def _check_lengths(src: Sequence[Sequence[int]], split: str, *, positions: int) -> None:
    for row, ids in enumerate(src):
        if len(ids) > positions:
            raise DataError(
                f"{split}, sentence {row + 1}: {len(ids)} tokens, the model reads {positions}; "
                "raise the model's max_length or split the sentence"
            )
