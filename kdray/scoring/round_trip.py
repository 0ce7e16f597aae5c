"""What do tokenizer and metric make of the references themselves? No model can score more.

A reference is turned into pieces and back, which is all that a model can write. It is compared with
itself as BLEU sees it: text whose words BLEU cannot find scores 0 even against itself. Shares and
scores are of a sample of each split, lengths of all lines.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kdray.artifacts import Fetch, Key, Source, keys_among, write_json
from kdray.errors import DataError
from kdray.jobs import NOTES, Counts
from kdray.schema import Column, Split
from kdray.scoring.metrics import bleu_metric, score
from kdray.text.corpus import TEST_PREFIX, Corpus
from kdray.text.tokenizer import UNK, Tokenizer

VERSION = 1
FILE = "round_trip.json"
LONGEST = "longest_source"
SAMPLE = 1000  # lines of a split, evenly spaced
_COSTS = 99.0  # points of BLEU or chrF below which a person is told
_HOPELESS = 20.0  # points of chrF below which references are not the same text any more
_UNKNOWN = 0.005  # share of unknown source pieces above which a person is told
_SHOWN = 120  # characters of a line in a message
_LONG_WORDS = 15.0  # characters of a word in the mean: more than in any language with spaces


@dataclass(frozen=True, slots=True)
class Side:
    """What comes back of the lines of one side of a split, beside what went in."""

    lines: int
    equal: float  # share of lines
    unknown: float  # share of pieces that are <unk>
    chrf: float
    bleu: float | None = None  # of references alone
    changed: tuple[str, str] | None = None  # the first line that is another one, before and after


@dataclass(frozen=True, slots=True)
class RoundTripJob:
    """Measure a tokenizer and a BLEU tokenizer on the text of a corpus."""

    corpus: Key
    tokenizer: Source
    bleu_tokenize: str
    is_light: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        """Of the corpus, the tokenizer, and what BLEU takes for words."""
        inputs = {"corpus": self.corpus.fingerprint, "tokenizer": self.tokenizer.fingerprint}
        return Key("round_trip", VERSION, {"bleu_tokenize": self.bleu_tokenize}, inputs)

    @property
    def reads(self) -> tuple[Key, ...]:
        """The corpus, and the tokenizer if it was made here."""
        return keys_among(self.corpus, self.tokenizer)

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """Write `round_trip.json`. -> what to tell, and the longest source of each test.

        Raises:
            DataError: BLEU is 0 for the dev references themselves, or the tokenizer leaves next to
                nothing of them or of their sources.
        """
        corpus = Corpus(fetch(self.corpus))
        tokenizer = Tokenizer.load(fetch(self.tokenizer))
        tests = [f"{TEST_PREFIX}{name}" for name in corpus.tests]
        sides: dict[str, dict[str, Side]] = {}
        longest: dict[str, dict[str, int]] = {}
        for split in (str(Split.TRAIN), str(Split.DEV), *tests):
            table = corpus.table(split)
            src, refs = (_sample(table[name]) for name in (Column.SRC, Column.REF))
            sides[split] = {
                Column.SRC.value: source_side(tokenizer, src),
                Column.REF.value: reference_side(tokenizer, refs, bleu_tokenize=self.bleu_tokenize),
            }
            if split in tests:
                ids = tokenizer.encode_src(table[Column.SRC].to_pylist())
                lengths = [len(row) for row in ids]
                line = int(np.argmax(lengths))
                longest[split] = {"tokens": lengths[line], "line": line + 1}
            if split == Split.DEV:
                self._check_dev(sides[split], refs)
        measured = {
            split: {name: asdict(side) for name, side in of_split.items()}
            for split, of_split in sides.items()
        }
        write_json(folder / FILE, measured)
        notes = [*_notes(sides), *self._long_words(sides, corpus)]
        return {"sample": SAMPLE, LONGEST: longest, "round_trip": measured, NOTES: notes}

    def _check_dev(self, sides: Mapping[str, Side], refs: Sequence[str]) -> None:
        """Refuse what no model can score anything with."""
        if score(refs, refs, bleu_tokenize=self.bleu_tokenize).bleu < 1:
            raise DataError(
                f"{Split.DEV}: BLEU is 0.0 for the references themselves, since the BLEU tokenizer "
                f"{self.bleu_tokenize} finds four words in no line; set "
                "recipe.evaluation.bleu_tokenize to that of the target language, or to `char`"
            )
        for name, side in sides.items():
            if side.chrf < _HOPELESS:
                before, after = side.changed or ("", "")
                raise DataError(
                    f"{Split.DEV}: the tokenizer leaves next to nothing of the {name} side, "
                    f"{side.equal:.0%} of its lines come back and {side.unknown:.0%} of its pieces "
                    f"are unknown ({_short(before)} -> {_short(after)}); take a tokenizer that was "
                    "trained on text in these scripts"
                )

    def _long_words(self, sides: Mapping[str, Any], corpus: Corpus) -> list[str]:
        """A note if the BLEU tokenizer does not cut the dev references into words."""
        cut = bleu_metric(self.bleu_tokenize).tokenizer
        words = [
            w for line in _sample(corpus.table(Split.DEV)[Column.REF]) for w in cut(line).split()
        ]
        mean = sum(map(len, words)) / max(len(words), 1)
        if mean <= _LONG_WORDS:
            return []
        return [
            f"BLEU's tokenizer {self.bleu_tokenize} makes words of {mean:.0f} characters of the "
            f"{Split.DEV} references, so BLEU counts whole phrases; set "
            "recipe.evaluation.bleu_tokenize to that of the target language, or to `char`"
        ]


def source_side(tokenizer: Tokenizer, lines: Sequence[str]) -> Side:
    """The round trip of sources; `lines` is not empty."""
    ids = tokenizer.encode_src(lines)
    return _side(lines, tokenizer.decode_src(ids), ids, bleu_tokenize=None)


def reference_side(tokenizer: Tokenizer, lines: Sequence[str], *, bleu_tokenize: str) -> Side:
    """The round trip of references, with the most that a translation can score."""
    ids = tokenizer.encode_tgt(lines)
    return _side(lines, tokenizer.decode_tgt(ids), ids, bleu_tokenize=bleu_tokenize)


def _side(
    lines: Sequence[str],
    back: Sequence[str],
    ids: Sequence[Sequence[int]],
    *,
    bleu_tokenize: str | None,
) -> Side:
    changed = [(one, other) for one, other in zip(lines, back, strict=True) if one != other]
    bleu, chrf = None if bleu_tokenize is None else 100.0, 100.0
    if changed:  # else it is known, and chrF takes a second
        scores = score(back, lines, bleu_tokenize=bleu_tokenize or "none")
        chrf = scores.chrf
        bleu = None if bleu_tokenize is None else scores.bleu
    pieces = sum(map(len, ids)) - len(ids)  # without </s>
    return Side(
        lines=len(lines),
        equal=1 - len(changed) / len(lines),
        unknown=sum(row.count(UNK) for row in ids) / max(pieces, 1),
        chrf=chrf,
        bleu=bleu,
        changed=changed[0] if changed else None,
    )


def _notes(sides: Mapping[str, Mapping[str, Side]]) -> Iterator[str]:
    """Where the round trip costs, in words."""
    for split, of_split in sides.items():
        src, ref = of_split[Column.SRC], of_split[Column.REF]
        assert ref.bleu is not None, "references have one"
        if min(ref.bleu, ref.chrf) < _COSTS and ref.changed is not None:
            yield (
                f"{split}: no translation can score more than about BLEU {ref.bleu:.1f} and chrF "
                f"{ref.chrf:.1f}: the tokenizer gives back {ref.equal:.0%} of the references as "
                f"they are ({_short(ref.changed[0])} -> {_short(ref.changed[1])}); {_repair(ref)}"
            )
        if src.unknown > _UNKNOWN:
            yield (
                f"{split}: {src.unknown:.1%} of the source's pieces are unknown to the tokenizer; "
                f"{_repair(src)}"
            )


def _short(text: str) -> str:
    """A text as it may stand in a message."""
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…")


def _repair(side: Side) -> str:
    if side.unknown > _UNKNOWN / 10:
        return (
            f"{side.unknown:.1%} of the pieces are unknown: set recipe.tokenizer.byte_fallback, or "
            "raise character_coverage"
        )
    return "set recipe.tokenizer.normalization to identity, or normalise the references so too"


def _sample(column: Any) -> list[str]:  # noqa: ANN401 (a column of pyarrow)
    rows = np.unique(np.linspace(0, len(column) - 1, min(len(column), SAMPLE)).astype(np.int64))
    texts: list[str] = column.take(rows).to_pylist()
    return texts
