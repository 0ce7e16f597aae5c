"""Translate dev and the tests with a teacher or a student, score the translations, time it all."""

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from kdray.artifacts import Fetch, Key, keys_among, write_json
from kdray.condition import SAMPLING, TEACHER_FORCING, Condition
from kdray.config.evaluation import EvaluationConfig
from kdray.errors import DataError
from kdray.jobs import Counts
from kdray.model.generate import SearchOptions
from kdray.schema import Column, Split
from kdray.scoring.counts import Segments, score_and_count
from kdray.scoring.result import storable, write_hyps
from kdray.scoring.segments import ENDING, write_counts
from kdray.teacher.engine import Engine, PieceEngine, Teacher, Translation, answered, translate
from kdray.text.corpus import Corpus
from kdray.text.prefix import split_references

VERSION = 3
SCORES = "scores.json"
UNSCORED, LEFT_OUT = "unscored", "left_out"


@dataclass(frozen=True, slots=True)
class EvaluationJob:
    """Score a teacher, or a student in the place of one, on all splits under all conditions."""

    teacher: Teacher
    corpus: Key
    config: EvaluationConfig
    is_light: ClassVar[bool] = False

    @property
    def key(self) -> Key:
        """Of the models, the corpus, and how they are scored."""
        models = "+".join(self.teacher.fingerprints)
        inputs = {"model": models, "corpus": self.corpus.fingerprint}
        return Key("scores", VERSION, self.config.identity(), inputs)

    @property
    def reads(self) -> tuple[Key, ...]:
        """The corpus and the models."""
        return keys_among(self.corpus, *self.teacher.sources)

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """Write `scores.json`, and translations and counts for each split and condition. -> counts.

        A split that cannot be scored has a row that says why (`UNSCORED`) and no file.
        """
        corpus = Corpus(fetch(self.corpus))
        splits = [str(Split.DEV), *(f"test-{name}" for name in corpus.tests)]
        texts = {split: corpus.table(split) for split in splits}
        rows: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory() as work:
            self.teacher.prepare(Path(work), fetch, device="cpu")
            engine = self.teacher.open(fetch, device="cpu", threads=threads, work=Path(work))
            for condition in self.config.conditions:
                for split, table in texts.items():
                    src, refs = (table[name].to_pylist() for name in (Column.SRC, Column.REF))
                    row: dict[str, Any] = {"split": split, "condition": condition.name}
                    try:
                        translated, measured = self._measure(engine, condition, src, refs)
                    except DataError as error:
                        rows.append({**row, UNSCORED: str(error)})
                        continue
                    if translated is not None:
                        row["file"] = f"{split}.{condition}.txt"
                        row["counts"] = f"{split}.{condition}{ENDING}"
                        write_hyps(folder / row["file"], translated.hyps)
                        write_counts(folder / row["counts"], translated.segments)
                    rows.append({**row, **measured})
        write_json(folder / SCORES, rows)
        return {"splits": len(splits), "threads": threads}

    def _measure(
        self, engine: Engine, condition: Condition, src: Sequence[str], refs: Sequence[str]
    ) -> tuple["_Translated | None", Mapping[str, Any]]:
        """Translations under a condition, if there are any, and what was measured.

        Raises:
            DataError: the model cannot read something, or cannot work so at all.
        """
        if condition.width is not None:
            return self._plain(engine, condition.width, src, refs)
        if not isinstance(engine, PieceEngine):
            raise DataError(
                "it only knows text, so it can neither go on from a prefix nor be drawn from, and "
                "it has no loss"
            )
        if condition.kind == TEACHER_FORCING:
            forced = engine.force(src, refs)
            accuracy = 100 * forced.correct / forced.tokens
            loss = forced.loss / forced.tokens
            return None, {"loss": loss, "accuracy": accuracy, "tokens": forced.tokens}
        if condition.kind == SAMPLING:
            assert self.config.sampling is not None, "it is a condition"
            how = dict(self.config.sampling)
            return self._scored(
                engine, answered(engine, src, lambda: engine.sample(src, **how)), refs
            )
        given = split_references(refs, condition.share)
        if not given:
            raise DataError("no reference is long enough to be cut there; leave the prefix out")
        chosen, prefixes = [src[part.row] for part in given], [part.prefix for part in given]
        options = self._options(self.config.main_beam)
        translations = answered(engine, chosen, lambda: engine.go_on(chosen, prefixes, options))
        rests = [part.continuation for part in given]
        lines = [part.row + 1 for part in given]
        translated, measured = self._scored(engine, translations, rests, lines)
        return translated, {**measured, LEFT_OUT: len(refs) - len(given)}

    def _plain(
        self, engine: Engine, width: int, src: Sequence[str], refs: Sequence[str]
    ) -> tuple["_Translated", Mapping[str, Any]]:
        began = time.perf_counter()
        translations = translate(engine, src, self._options(width))
        seconds = time.perf_counter() - began
        translated, measured = self._scored(engine, translations, refs)
        tokens = [len(best.ids) for best, *_ in translations if best.ids is not None]
        return translated, {
            **measured,
            "tokens_per_second": sum(tokens) / seconds if tokens else None,
            "sentences_per_second": len(src) / seconds,
        }

    def _options(self, width: int) -> SearchOptions:
        return SearchOptions(beam=width, length_penalty=self.config.length_penalty)

    def _scored(
        self,
        engine: Engine,
        translations: Sequence[Sequence[Translation]],
        refs: Sequence[str],
        lines: Sequence[int] | None = None,
    ) -> tuple["_Translated", Mapping[str, Any]]:
        """The best translations and their scores; `lines` are where prefixes were given.

        Raises:
            DataError: something has no translation, or one whose score is not finite.
        """
        what = "sentences" if lines is None else "sentences or their prefixes"
        numbers = lines or range(1, len(refs) + 1)
        unread = [line for line, best in zip(numbers, translations, strict=True) if not best]
        if unread:
            which = f"{len(unread)} of {len(refs)} {what}, the first in line {unread[0]},"
            if engine.positions is None:
                raise DataError(
                    f"{which} have no translation; let the teacher translate them, or leave the "
                    "set out"
                )
            raise DataError(
                f"{which} are longer than the {engine.positions} tokens that the model reads; "
                "split them, or leave the set out"
            )
        hyps = [best for best, *_ in translations]
        for line, hyp in zip(numbers, hyps, strict=True):
            if not math.isfinite(hyp.score):
                raise DataError(
                    f"the translation of line {line} has the score {hyp.score}, which is not "
                    "finite; repair the model, or leave the set out"
                )
        texts = [storable(hyp.text) for hyp in hyps]
        scores, segments = score_and_count(texts, refs, bleu_tokenize=self.config.bleu_tokenize)
        return _Translated(texts, segments), {
            **asdict(scores),
            "unfinished": sum(not hyp.finished for hyp in hyps),
        }


@dataclass(frozen=True, slots=True)
class _Translated:
    """The lines that a model wrote, and what BLEU and chrF counted in each."""

    hyps: list[str]
    segments: Mapping[str, Segments]


def condition_of(row: Mapping[str, Any]) -> Condition:
    """The condition of a row; where beams were the only ones, it names the width."""
    return Condition.of_beam(row["beam"]) if "beam" in row else Condition.named(row["condition"])
