"""Is a teacher of another tool what it should be? Asked on dev, before anything is decoded with it.

A tag that is missing, a vocabulary that is mixed up or arithmetic that overflows gives text all the
same, and students learn it. What was seen is told, and a teacher that cannot be meant is refused.
"""

import math
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sacrebleu.metrics.chrf import CHRF

from kdray.artifacts import Fetch, Key, keys_among, write_json
from kdray.errors import DataError, InputError, KdrayError
from kdray.jobs import NOTES, Counts
from kdray.model.generate import SearchOptions
from kdray.schema import Column, Split
from kdray.scoring.metrics import score
from kdray.scoring.result import storable
from kdray.teacher.converted import ConvertedTeacher
from kdray.teacher.engine import Engine, Teacher, Translation, translate
from kdray.teacher.huggingface.against_torch import compare, objections, words
from kdray.teacher.huggingface.loading import load_torch
from kdray.teacher.huggingface.teacher import (
    HuggingFaceEngine,
    HuggingFaceTeacher,
    SharedHuggingFaceTeacher,
)
from kdray.teacher.lines import LinesEngine
from kdray.teacher.marian import MarianTeacher
from kdray.teacher.quarantine import SHARE
from kdray.text.corpus import Corpus

VERSION = 1
FILE = "check.json"
SENTENCES, COMPARED, ENOUGH = 200, 24, 20
"""Sentences of dev that are translated, that the original reads, and that a share is judged by."""


@dataclass(frozen=True, slots=True)
class CheckJob:
    """Let a teacher translate some of dev, and look at what it says."""

    teacher: Teacher
    corpus: Key
    bleu_tokenize: str
    is_light: ClassVar[bool] = False

    @property
    def key(self) -> Key:
        """Of the teacher and the corpus."""
        inputs = {**self.teacher.identity, "corpus": self.corpus.fingerprint}
        return Key("checked", VERSION, {"bleu_tokenize": self.bleu_tokenize}, inputs)

    @property
    def reads(self) -> tuple[Key, ...]:
        """The corpus and the teacher."""
        return keys_among(self.corpus, *self.teacher.sources)

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """Write `check.json`. -> counts, with what a person should read.

        Raises:
            DataError: the teacher is refused, with what was seen.
        """
        table = Corpus(fetch(self.corpus)).table(Split.DEV)
        most = min(SENTENCES, table.num_rows)
        rows = np.unique(np.linspace(0, table.num_rows - 1, most).astype(np.int64))
        some = table.take(rows)
        src, refs = (some[name].to_pylist() for name in (Column.SRC, Column.REF))
        with tempfile.TemporaryDirectory() as work:
            self.teacher.prepare(Path(work), fetch, device="cpu")
            engine = self.teacher.open(fetch, device="cpu", threads=threads, work=Path(work))
            hyps, seconds = _translated(engine, src)
        facts, notes = self._facts(hyps, refs, seconds)
        wrong = [*text_objections(src, hyps, refs), *_unlike_alone(engine, src, hyps)]
        if isinstance(engine, HuggingFaceEngine) and isinstance(self.teacher, HuggingFaceTeacher):
            model, some = self._original(fetch), src[:COMPARED]
            seen = compare(engine, model, some)
            facts["original"] = asdict(seen)
            notes.append(words(seen))
            compute_type, vocabulary = self.teacher.config.compute_type, len(engine.facts["tgt"])
            wrong += objections(seen, compute_type=compute_type, vocabulary=vocabulary)
        if (exact := in_float32(self.teacher)) is not None:
            others, needed = _translated(exact.open(fetch, device="cpu", threads=threads), src)
            of_exact, _ = self._facts(others, refs, needed)
            facts["float32"] = of_exact
            notes.append(
                f"the teacher has {facts['bleu']:.2f} BLEU on these {len(src)} sentences of dev, "
                f"and {of_exact['bleu']:.2f} in float32; it is {needed / seconds:.2f} times as "
                "fast on this CPU"
            )
        if wrong:
            raise DataError(
                f"recipe.teacher: is refused for what was seen on {len(src)} sentences of dev, "
                f"before anything was decoded: {'; '.join(wrong)}. See whether languages, pieces "
                "and model belong together"
            )
        write_json(folder / FILE, facts)
        return {"sentences": len(src), "bleu": facts["bleu"], NOTES: notes}

    def _original(self, fetch: Fetch) -> Any:  # noqa: ANN401 (a model of transformers)
        """What the teacher was converted of; it has to belong to a vocabulary that is shared."""
        assert isinstance(self.teacher, HuggingFaceTeacher)
        if isinstance(self.teacher, SharedHuggingFaceTeacher):
            return self.teacher.reader(fetch, device="cpu").model
        return load_torch(self.teacher.origin.folder())

    def _facts(
        self, hyps: Sequence[Translation | None], refs: Sequence[str], seconds: float
    ) -> tuple[dict[str, Any], list[str]]:
        texts = [_text(hyp) for hyp in hyps]
        scores = score(texts, refs, bleu_tokenize=self.bleu_tokenize)
        facts = {**asdict(scores), "seconds": seconds, "greedy": texts}
        note = (
            f"the teacher was tried on {len(hyps)} sentences of dev: BLEU {scores.bleu:.2f}, "
            f"{len(hyps) / seconds:.1f} sentences a second, greedy"
        )
        return facts, [note]


def text_objections(
    src: Sequence[str], hyps: Sequence[Translation | None], refs: Sequence[str]
) -> Iterator[str]:
    """Why translations cannot be meant, of too few sentences none is. None: there is none."""
    rows = [row for row, line in enumerate(src) if line.strip()]
    if len(rows) < ENOUGH:
        return
    made = [_text(hyps[row]).strip() for row in rows]
    if (empty := made.count("")) > len(rows) / 2:
        yield f"{empty} of {len(rows)} sentences have no translation"
        return
    unfinished = sum(hyp is not None and not hyp.finished for hyp in hyps)
    if unfinished > len(rows) / 2:
        yield f"{unfinished} of {len(rows)} translations do not end, for instance {made[0][:80]!r}"
    nowhere = sum(hyp is not None and not math.isfinite(hyp.score) for hyp in hyps)
    if nowhere > SHARE * len(rows):  # such rows are put into quarantine, of which no more may be
        yield f"{nowhere} of {len(rows)} scores are no finite numbers, as of arithmetic too coarse"
    same = sum(
        hyp == src[row].strip() != refs[row].strip() for row, hyp in zip(rows, made, strict=True)
    )
    if same > len(rows) / 2:
        yield f"{same} of {len(rows)} sentences are copied, for instance {made[0][:80]!r}"
    ours, theirs = scripts(made), scripts([refs[row] for row in rows])
    if sum((ours & theirs).values()) < 0.5 * min(ours.total(), theirs.total()):
        yield (
            f"it writes {_shown(ours)}, and the references are in {_shown(theirs)}, for instance "
            f"{made[0][:80]!r}: another language"
        )
    chrf = CHRF()
    own = [chrf.sentence_score(hyp, [refs[row]]).score for row, hyp in zip(rows, made, strict=True)]
    turned = [refs[row] for row in (*rows[1:], rows[0])]
    other = [chrf.sentence_score(hyp, [ref]).score for hyp, ref in zip(made, turned, strict=True)]
    if np.mean(own) <= np.mean(other):
        yield (
            f"its translations are no nearer to their own references (chrF {np.mean(own):.1f}) "
            f"than to those of other sentences ({np.mean(other):.1f}), for instance "
            f"{made[0][:80]!r} where the reference is {refs[rows[0]][:80]!r}"
        )


def scripts(lines: Sequence[str]) -> Counter[str]:
    """How many letters of each script there are, in thousandths, by the first word of their names.

    Such as LATIN, CYRILLIC and CJK.
    """
    letters = Counter(letter for line in lines for letter in line if letter.isalpha())
    counts = Counter[str]()
    for letter, count in letters.items():
        counts[unicodedata.name(letter, "UNKNOWN").split()[0].split("-")[0]] += count
    whole = max(1, counts.total())
    return Counter({name: round(1000 * count / whole) for name, count in counts.items()})


def in_float32(teacher: Teacher) -> Teacher | None:
    """The same teacher computing in float32; None if it does so already, or cannot be told to."""
    if not isinstance(teacher, ConvertedTeacher | HuggingFaceTeacher | MarianTeacher):
        return None
    if teacher.config.compute_type == "float32":
        return None
    changed: Any = teacher.config.model_copy(update={"compute_type": "float32"})
    return replace(teacher, config=changed)


def _translated(engine: Engine, src: Sequence[str]) -> tuple[list[Translation | None], float]:
    """The best translation of each, or none, and the seconds that it took.

    Raises:
        InputError: a command or a function fails, or does not answer each sentence.
    """
    began = time.perf_counter()
    try:
        best = translate(engine, src, SearchOptions())
    except KdrayError:
        raise
    except Exception as error:  # of a command, or of another package: it may be anything
        if not isinstance(engine, LinesEngine):
            raise
        raise InputError(
            f"{engine.place}: failed with {len(src)} sentences of dev: "
            f"{type(error).__name__}: {error}"
        ) from error
    seconds = time.perf_counter() - began
    return [each[0] if each else None for each in best], seconds


def _unlike_alone(
    engine: Engine, src: Sequence[str], hyps: Sequence[Translation | None]
) -> Iterator[str]:
    """Whether sentences are translated otherwise when each is alone. A command is not asked."""
    if isinstance(engine, LinesEngine):
        return
    some = range(min(COMPARED, len(src)))
    alone = [_text(_translated(engine, [src[row]])[0][0]) for row in some]
    unlike = [row for row in some if alone[row] != _text(hyps[row])]
    if len(unlike) > len(some) / 4:
        row = unlike[0]
        yield (
            f"{len(unlike)} of {len(some)} sentences are translated otherwise when they are "
            f"alone, for instance {alone[row]!r} and together {_text(hyps[row])!r}"
        )


def _text(hyp: Translation | None) -> str:
    return "" if hyp is None else storable(hyp.text)


def _shown(counts: Counter[str]) -> str:
    return " and ".join(name.lower() for name, _ in counts.most_common(2)) or "no letters"
