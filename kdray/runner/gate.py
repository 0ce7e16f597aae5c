"""The gate of a finished student, sentence by sentence: g, and both losses of the student."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter

from kdray.config.methods.hybrid import HybridConfig
from kdray.config.methods.union import SingleMethodConfig
from kdray.errors import InputError
from kdray.fit.data import TrainingData
from kdray.fit.job import METHOD_CONFIG, METHOD_WEIGHTS
from kdray.methods.base import Clock, sentence_means
from kdray.methods.build import build_method
from kdray.methods.hybrid import Hybrid
from kdray.model.generate import SearchOptions, generate
from kdray.model.storage import load_model, load_weights
from kdray.model.transformer import Transformer
from kdray.plan.step import STUDENT, Step, spec_of
from kdray.runner.study import Study
from kdray.schema import Column, Split, View
from kdray.teacher.own import OnlineModels
from kdray.text.batching import cuts
from kdray.text.corpus import Corpus
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


@dataclass(frozen=True, slots=True)
class _Limit:
    """The most tokens that student and teacher can read, and where the sentences stand."""

    tokens: int
    file: Path | None

    def check(self, ids: Sequence[Sequence[int]], what: str) -> None:
        """Raise InputError for the first sentence that has more."""
        for number, tokens in enumerate(ids, start=1):
            if len(tokens) > self.tokens:
                where = f"{Split.DEV}, pair" if self.file is None else f"{self.file}, line"
                raise InputError(
                    f"{where} {number}: the {what} has {len(tokens)} tokens, student and teacher "
                    f"read {self.tokens} at most (their max_length); shorten or split the sentence"
                )


def read_gates(study: Study, student: str, file: Path | None) -> list[GateRow]:
    """Gates of the sentences of a file (source, tab, reference), or of dev, in their order.

    Raises:
        InputError: there is no such student, it is not made yet, or it has no gate; the file
            cannot be read, or a line of it lacks the reference that the method reads or is
            longer than the models can read.
    """
    step = _find(study, student)
    folder = study.store.fetch(step.key)
    method_config = _METHOD.validate_python(
        json.loads((folder / METHOD_CONFIG).read_text(encoding="utf-8"))
    )
    if not isinstance(method_config, HybridConfig):
        raise InputError(f"{student}: {method_config.kind} has no gate; name a student by a hybrid")
    model, tokenizer = load_model(folder), Tokenizer.load(folder)
    assert study.plan.teacher is not None, "a hybrid could not have been trained without"
    teacher = study.plan.teacher.reader(study.store.fetch, device="cpu")
    assert isinstance(teacher, OnlineModels), "the config was checked for this"
    method = build_method(method_config, student=model, teacher=teacher).eval()
    assert isinstance(method, Hybrid), "the config was checked for this"
    load_weights(method, folder / METHOD_WEIGHTS)
    updates = spec_of(step).training.updates
    method.begin(Clock(step=updates, updates=updates))
    pairs = _dev(study) if file is None else read_pairs(file)
    if View.REFERENCE in method.views and not all(ref for _, ref in pairs):
        raise InputError(
            f"{file}: a line without a reference, and the layout {method.layout} reads the "
            "teacher's distributions on references; write source, tab, reference on each line"
        )
    limit = _Limit(min(model.config.max_length, teacher.positions), file)
    data = _data(study, method, tokenizer, pairs, teacher, limit)
    return [
        GateRow(src, *values)
        for (src, _), values in zip(pairs, _values(model, method, data), strict=True)
    ]


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


def _find(study: Study, student: str) -> Step:
    names = {step.name: step for step in study.plan.of(STUDENT)}
    if student not in names:
        raise InputError(f"{student}: no such student; there are {', '.join(names)}")
    if not study.is_made(names[student].key):
        raise InputError(
            f"{student}: not trained yet; run `python -m kdray.train` with the same configuration"
        )
    return names[student]


def _dev(study: Study) -> list[tuple[str, str]]:
    table = Corpus(study.store.fetch(study.plan.text.corpus)).table(Split.DEV)
    return list(zip(table[Column.SRC].to_pylist(), table[Column.REF].to_pylist(), strict=True))


def _data(
    study: Study,
    method: Hybrid,
    tokenizer: Tokenizer,
    pairs: Sequence[tuple[str, str]],
    teacher: OnlineModels,
    limit: _Limit,
) -> TrainingData:
    src = tokenizer.encode_src([src for src, _ in pairs])
    refs = tokenizer.encode_tgt([ref for _, ref in pairs])
    limit.check(src, "source")
    if View.REFERENCE in method.views:
        limit.check(refs, "reference")
    config = study.recipe.signals.hypotheses
    assert config is not None, "a hybrid could not have been trained without"
    options = SearchOptions(
        beam=config.beam,
        length_penalty=config.length_penalty,
        max_length_ratio=config.max_length_ratio,
        max_length_slack=config.max_length_slack,
    )
    found = generate(teacher.models, src, options)
    hyps = [best.ids for best, *_ in found]
    limit.check(hyps, "teacher's translation")
    views = {View.HYPOTHESIS: Sequences.from_lists(hyps)}
    if View.REFERENCE in method.views:
        views = {View.REFERENCE: Sequences.from_lists(refs), **views}
    return TrainingData(
        pair_ids=np.arange(len(pairs)),
        src=Sequences.from_lists(src),
        views=views,
        distributions={},
        left_out={},
        teacher=teacher,
    )


@torch.no_grad()
def _values(
    model: Transformer, method: Hybrid, data: TrainingData
) -> list[tuple[float, float, float]]:
    """Gate, token-level and sentence-level loss of each row."""
    order = np.argsort(data.src.lengths, kind="stable")
    found: dict[int, tuple[float, float, float]] = {}
    for rows in np.split(order, cuts(data.src.lengths[order], most=TOKENS_PER_BATCH)):
        batch = data.batch(rows, device=torch.device("cpu"))
        batch = data.with_teacher(batch, rows, method)
        mixture = method.mix(model, batch)
        sides = (
            method.gate_of_sentences(mixture.gate_G, batch),
            sentence_means(mixture.token_N, batch.targets[method.reads[0]], sentences=len(rows)),
            sentence_means(mixture.sentence_N, batch.targets[View.HYPOTHESIS], sentences=len(rows)),
        )
        gate, token, sentence = (side.tolist() for side in sides)
        found |= dict(zip(rows.tolist(), zip(gate, token, sentence, strict=True), strict=True))
    return [found[row] for row in range(len(data))]
