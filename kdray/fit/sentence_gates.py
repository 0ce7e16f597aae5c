"""The gate of a finished student for single sentences, and both losses that it weighs there."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
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
from kdray.text.batching import cuts
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import Tokenizer

_METHOD: TypeAdapter[SingleMethodConfig] = TypeAdapter(SingleMethodConfig)
TOKENS_PER_BATCH = 4096


@dataclass(frozen=True, slots=True)
class GateRow:
    """A sentence, its g, and both losses per token in nats."""

    src: str
    gate: float
    token_loss: float
    sentence_loss: float


class GatedStudent:
    """A finished student, its method as training left it, and the teacher beside them.

    Args:
        folder: of the student.
        teacher: that it learned from.
        fetch: gives the folders of what the teacher is made of.
        updates: that it was trained for.
    """

    def __init__(self, folder: Path, teacher: Teacher, fetch: Fetch, *, updates: int) -> None:
        config = _METHOD.validate_json((folder / METHOD_CONFIG).read_bytes())
        self.student, self.tokenizer = load_model(folder), Tokenizer.load(folder)
        self.engine = teacher.open(fetch, device="cpu", threads=1)
        reader = teacher.reader(fetch, device="cpu")
        assert reader is not None, "a student with a gate has read its distributions"
        self.teacher = reader
        self.method = build_method(config, student=self.student, teacher=self.teacher).eval()
        load_weights(self.method, folder / METHOD_WEIGHTS)
        self.method.begin(Clock(step=updates, run_length=updates))

    def read(
        self, pairs: Sequence[tuple[str, str]], options: SearchOptions, *, place: str
    ) -> list[GateRow]:
        """Gates of pairs of source and reference, in their order.

        Raises:
            InputError: a pair, counted from `place`, lacks the reference that the method learns, or
                is longer than student and teacher can read.
        """
        data = self._data(pairs, options, place=place)
        order = np.argsort(data.src.lengths, kind="stable")
        gates = torch.empty(len(pairs), 3)
        for part in np.split(order, cuts(data.src.lengths[order], most=TOKENS_PER_BATCH)):
            with torch.no_grad():
                batch = data.learned(part, self.method, self.student, device=torch.device("cpu"))
                gates[part] = self.method.sentence_gates(self.student, batch)
        sources = (src for src, _ in pairs)
        return [GateRow(src, *row) for src, row in zip(sources, gates.tolist(), strict=True)]

    def _data(
        self, pairs: Sequence[tuple[str, str]], options: SearchOptions, *, place: str
    ) -> TrainingData:
        """What the method learned from, with translations that the teacher makes now."""
        views = self.method.needs.views
        sources, references = zip(*pairs, strict=True)
        src = self.tokenizer.encode_src(list(sources))
        self._check_lengths(src, "source", place=place)
        ids = {View.REFERENCE: self.tokenizer.encode_tgt(list(references))}
        if View.REFERENCE in views:
            if "" in references:
                raise InputError(
                    f"{place} {references.index('') + 1}: there is no reference, and the method "
                    "reads the teacher's distributions on references; write source, tab, reference"
                )
            self._check_lengths(ids[View.REFERENCE], "reference", place=place)
        translations = self.engine.translate(list(sources), options)
        ids[View.HYPOTHESIS] = [list(best.ids or ()) for best, *_ in translations]
        self._check_lengths(ids[View.HYPOTHESIS], "teacher's translation", place=place)
        return TrainingData(
            pair_ids=np.arange(len(pairs)),
            src=Sequences.from_lists(src),
            views={view: Sequences.from_lists(ids[view]) for view in views},
            distributions={},
            left_out={},
            teacher=self.teacher,
        )

    def _check_lengths(self, ids: Sequence[Sequence[int]], what: str, *, place: str) -> None:
        """Raise InputError for the first sentence that student or teacher cannot read."""
        most = min(self.student.config.max_length, self.teacher.positions)
        for number, tokens in enumerate(ids, start=1):
            if len(tokens) > most:
                raise InputError(
                    f"{place} {number}: the {what} has {len(tokens)} tokens, student and teacher "
                    f"read {most} at most (their max_length); shorten or split the sentence"
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
