"""Translate dev and the tests with a teacher or a student, score the translations, time it all."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from kdray.artifacts import Fetch, Key, keys_among, write_json
from kdray.config.recipe import EvaluationConfig
from kdray.errors import DataError
from kdray.jobs import Counts
from kdray.model.generate import SearchOptions
from kdray.schema import Column, Split
from kdray.scoring.metrics import score
from kdray.scoring.result import storable, write_hyps
from kdray.teacher.engine import Engine, Teacher
from kdray.text.corpus import Corpus

VERSION = 2
SCORES = "scores.json"
UNSCORED = "unscored"


@dataclass(frozen=True, slots=True)
class EvaluationJob:
    """Score a teacher, or a student in the place of one, on all splits with all beams."""

    teacher: Teacher
    corpus: Key
    config: EvaluationConfig
    is_light: ClassVar[bool] = False

    @property
    def key(self) -> Key:
        """Of the models, the corpus, and how they are scored."""
        recipe = self.config.model_dump(mode="json", exclude={"bootstrap_samples"})
        models = "+".join(self.teacher.fingerprints)
        inputs = {"model": models, "corpus": self.corpus.fingerprint}
        return Key("scores", VERSION, recipe, inputs)

    @property
    def reads(self) -> tuple[Key, ...]:
        """The corpus and the models."""
        return keys_among(self.corpus, *self.teacher.sources)

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """Write `scores.json` and a file of translations for each split and beam. -> counts.

        A split that cannot be scored has a row that says why (`UNSCORED`) and no file.
        """
        corpus = Corpus(fetch(self.corpus))
        splits = [str(Split.DEV), *(f"test-{name}" for name in corpus.tests)]
        rows: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory() as work:
            self.teacher.prepare(Path(work), fetch, device="cpu")
            engine = self.teacher.open(fetch, device="cpu", threads=threads, work=Path(work))
            for split in splits:
                table = corpus.table(split)
                src, refs = (table[name].to_pylist() for name in (Column.SRC, Column.REF))
                for beam in self.config.beams:
                    name = f"{split}.beam{beam}.txt"
                    try:
                        hyps, row = self._measure(engine, src, refs, beam)
                    except DataError as error:
                        rows.append({"split": split, "beam": beam, UNSCORED: str(error)})
                        continue
                    write_hyps(folder / name, hyps)
                    rows.append({"split": split, "beam": beam, "file": name, **row})
        write_json(folder / SCORES, rows)
        return {"splits": len(splits), "threads": threads}

    def _measure(
        self, engine: Engine, src: Sequence[str], refs: Sequence[str], beam: int
    ) -> tuple[list[str], dict[str, Any]]:
        options = SearchOptions(beam=beam, length_penalty=self.config.length_penalty)
        began = time.perf_counter()
        translations = engine.translate(src, options)
        seconds = time.perf_counter() - began
        unread = [number for number, best in enumerate(translations, start=1) if not best]
        if unread:
            raise DataError(
                f"{len(unread)} of {len(src)} sentences, the first in line {unread[0]}, are longer "
                f"than the {engine.positions} tokens that the model reads; split them, or leave "
                "the set out"
            )
        hyps = [best for best, *_ in translations]
        texts = [storable(hyp.text) for hyp in hyps]
        scores = score(texts, refs, bleu_tokenize=self.config.bleu_tokenize)
        tokens = [len(hyp.ids) for hyp in hyps if hyp.ids is not None]
        return texts, {
            **asdict(scores),
            "unfinished": sum(not hyp.finished for hyp in hyps),
            "tokens_per_second": sum(tokens) / seconds if tokens else None,
            "sentences_per_second": len(src) / seconds,
        }
