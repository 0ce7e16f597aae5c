"""The gate of a finished student for single sentences, and both losses that it weighs there."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter

from kdray.artifacts import Fetch
from kdray.config.methods.union import SingleMethodConfig
from kdray.errors import InputError
from kdray.fit.data import TrainingData
from kdray.fit.job import METHOD_CONFIG, METHOD_WEIGHTS
from kdray.methods.base import Clock
from kdray.methods.build import build_method
from kdray.model.generate import SearchOptions
from kdray.model.storage import load_model, load_weights
from kdray.schema import View
from kdray.teacher.engine import Teacher
from kdray.teacher.references import read_references
from kdray.text.batching import cuts
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import Tokenizer
from kdray.text.words import words_of

_METHOD: TypeAdapter[SingleMethodConfig] = TypeAdapter(SingleMethodConfig)
TOKENS_PER_BATCH = 4096
Pairs = Sequence[tuple[str, str]]
"""Source and reference of some sentences; a reference may be empty."""
Ids = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class GateRow:
    """A sentence, its g, and both losses per token in nats.

    entropy: of the teacher's distributions at the reference's tokens, their mean in nats; NaN
    where there is no reference, or one that the teacher cannot read.
    """

    src: str
    gate: float
    token_loss: float
    sentence_loss: float
    entropy: float

    @property
    def words(self) -> int:
        """How many the source has."""
        return len(words_of(self.src))


class GatedStudent:
    """A finished student, its method as training left it, and the teacher beside them.

    Args:
        folder: of the student.
        teacher: that it learned from.
        fetch: gives the folders of what the teacher is made of.
        work: the folder in which the teacher was prepared to translate.
        options: of the teacher's search.
        updates: that the student was trained for.
        threads: of the search.
    """

    def __init__(
        self,
        folder: Path,
        teacher: Teacher,
        fetch: Fetch,
        *,
        work: Path,
        options: SearchOptions,
        updates: int,
        threads: int,
    ) -> None:
        config = _METHOD.validate_json((folder / METHOD_CONFIG).read_bytes())
        self.student, self.tokenizer = load_model(folder), Tokenizer.load(folder)
        self.engine = teacher.open(fetch, device="cpu", threads=threads, work=work)
        reader = teacher.reader(fetch, device="cpu")
        assert reader is not None, "a student with a gate has read its distributions"
        self.teacher, self.by_perplexity = reader, teacher.by_perplexity
        self.method = build_method(config, student=self.student, teacher=self.teacher).eval()
        load_weights(self.method, folder / METHOD_WEIGHTS)
        self.method.begin(Clock(step=updates, run_length=updates))
        self.options = options

    @property
    def positions(self) -> int:
        """The longest sequence that student and teacher can read."""
        return min(self.student.config.max_length, self.teacher.positions)

    def read(self, pairs: Pairs, *, place: str) -> list[GateRow]:
        """Gates of pairs of source and reference, in their order.

        Raises:
            InputError: a pair, counted from `place`, lacks the reference that the method learns, or
                is longer than student and teacher can read.
        """
        src, refs = self._ids(pairs)
        self._check_lengths(src, "source", place=place)
        if View.REFERENCE in self.method.needs.views:
            references = [ref for _, ref in pairs]
            if "" in references:
                raise InputError(
                    f"{place} {references.index('') + 1}: there is no reference, and the method "
                    "reads the teacher's distributions on references; write source, tab, reference"
                )
            self._check_lengths(refs, "reference", place=place)
        hyps = self._translations(pairs)
        self._check_lengths(hyps, "teacher's translation", place=place)
        return self._rows(pairs, src, refs, hyps)

    def read_what_fits(self, pairs: Pairs) -> tuple[list[GateRow], int]:
        """Gates of the pairs that student and teacher can read. -> and how many are left out.

        Those are left out whose source, reference or translation by the teacher is too long.
        """
        fits = [
            row
            for row, (src, ref) in enumerate(zip(*self._ids(pairs), strict=True))
            if max(len(src), len(ref)) <= self.positions
        ]
        hyps = self._translations([pairs[row] for row in fits])
        kept = [
            (pairs[row], hyp)
            for row, hyp in zip(fits, hyps, strict=True)
            if len(hyp) <= self.positions
        ]
        chosen = [pair for pair, _ in kept]
        rows = self._rows(chosen, *self._ids(chosen), [hyp for _, hyp in kept])
        return rows, len(pairs) - len(rows)

    def _ids(self, pairs: Pairs) -> tuple[Ids, Ids]:
        """Of sources and of references."""
        sources, references = ([pair[side] for pair in pairs] for side in (0, 1))
        return self.tokenizer.encode_src(sources), self.tokenizer.encode_tgt(references)

    def _translations(self, pairs: Pairs) -> list[list[int]]:
        """What the teacher makes of sources that it can read."""
        translations = self.engine.translate([src for src, _ in pairs], self.options)
        return [list(best.ids or ()) for best, *_ in translations]

    def _rows(self, pairs: Pairs, src: Ids, refs: Ids, hyps: Ids) -> list[GateRow]:
        """Gates of pairs that can be read, from their ids and those of the teacher's translations.

        What the method learned from is made again, with the teacher as it is now.
        """
        ids = {View.REFERENCE: refs, View.HYPOTHESIS: hyps}
        data = TrainingData(
            pair_ids=np.arange(len(pairs)),
            src=Sequences.from_lists(src),
            views={view: Sequences.from_lists(ids[view]) for view in self.method.needs.views},
            distributions={},
            left_out={},
            teacher=self.teacher,
        )
        gates = np.empty((len(pairs), 3))
        order = np.argsort(data.src.lengths, kind="stable")
        for part in np.split(order, cuts(data.src.lengths[order], most=TOKENS_PER_BATCH)):
            if not len(part):
                continue
            with torch.no_grad():
                batch = data.learned(part, self.method, self.student, device=torch.device("cpu"))
                gates[part] = self.method.sentence_gates(self.student, batch).numpy()
        entropy = self._entropy(pairs, data.src, Sequences.from_lists(refs))
        sources = (src for src, _ in pairs)
        columns = (gates[:, 0], gates[:, 1], gates[:, 2], entropy)
        return [
            GateRow(text, *numbers)
            for text, *numbers in zip(sources, *(each.tolist() for each in columns), strict=True)
        ]

    def _entropy(self, pairs: Pairs, src: Sequences, refs: Sequences) -> NDArray[np.float64]:
        """The teacher's mean entropy at the tokens of each reference, in nats. -> [pairs]."""
        given = np.array([bool(ref) for _, ref in pairs], dtype=bool)
        rows = np.flatnonzero(given & (refs.lengths <= self.teacher.positions))
        entropy = np.full(len(pairs), np.nan)
        sums, _ = read_references(self.teacher, src, refs, rows, by_perplexity=self.by_perplexity)
        entropy[rows] = sums / refs.lengths[rows]
        return entropy

    def _check_lengths(self, ids: Ids, what: str, *, place: str) -> None:
        """Raise InputError for the first sentence that student or teacher cannot read."""
        for number, tokens in enumerate(ids, start=1):
            if len(tokens) > self.positions:
                raise InputError(
                    f"{place} {number}: the {what} has {len(tokens)} tokens, student and teacher "
                    f"read {self.positions} at most (their max_length); shorten or split the "
                    "sentence"
                )


def read_pairs(file: Path) -> list[tuple[str, str]]:
    """Source and reference of each line; a line without a tab has no reference.

    Raises:
        InputError: the file cannot be read or holds no sentence.
    """
    try:
        lines = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as UTF-8 text: {error}") from None
    pairs = [(src.strip(), ref.strip()) for src, _, ref in (line.partition("\t") for line in lines)]
    for number, (src, _) in enumerate(pairs, start=1):
        if not src:
            raise InputError(f"{file}, line {number}: no source sentence; fill or remove the line")
    return pairs
