"""Translate dev and the tests with a stored model, score the translations, time the decoding."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdray.artifacts import write_json
from kdray.config import EvaluationConfig
from kdray.errors import DataError
from kdray.model.ctranslate2 import FastTranslator, export
from kdray.model.generate import SearchOptions
from kdray.model.storage import load_model
from kdray.schema import Column, Split
from kdray.scoring.result import write_hyps
from kdray.scoring.scores import score
from kdray.text.corpus import Corpus
from kdray.text.tokenizer import Tokenizer

VERSION = 1
SCORES = "scores.json"


@dataclass(frozen=True, slots=True)
class EvaluationJob:
    """One stored model, all splits, all beams. Everything in it can be pickled cheaply."""

    model: Path
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
        tokenizer = Tokenizer.load(self.model)
        model = load_model(self.model)
        corpus = Corpus(self.corpus)
        splits = [str(Split.DEV), *(f"test-{name}" for name in corpus.tests)]
        rows: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory() as exported:
            export(model, tokenizer, Path(exported) / "model")
            translator = FastTranslator.load(
                Path(exported) / "model",
                tokenizer,
                positions=model.config.max_length,
                threads=threads,
            )
            for split in splits:
                table = corpus.table(split)
                src = tokenizer.encode_src(table[Column.SRC].to_pylist())
                _check_lengths(src, split, positions=model.config.max_length)
                refs = table[Column.REF].to_pylist()
                for beam in self.config.beams:
                    progress(f"{split}, beam {beam}")
                    row = self._measure(translator, tokenizer, src, refs, beam)
                    hyps = row.pop("hyps")
                    name = f"{split}.beam{beam}.txt"
                    write_hyps(folder / name, hyps)
                    rows.append({"split": split, "beam": beam, "file": name, **row})
        write_json(folder / SCORES, rows)
        return {"splits": len(splits), "threads": threads}

    def _measure(
        self,
        translator: FastTranslator,
        tokenizer: Tokenizer,
        src: Sequence[Sequence[int]],
        refs: Sequence[str],
        beam: int,
    ) -> dict[str, Any]:
        options = SearchOptions(beam=beam, length_penalty=self.config.length_penalty)
        began = time.perf_counter()
        found = [best for best, *_ in translator.translate(src, options)]
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
