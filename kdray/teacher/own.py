"""kdray's own models as a teacher: one, or an ensemble whose probabilities are averaged.

M models, B sentences, S source positions, T target positions, N real target positions.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from kdray.artifacts import Fetch, Source
from kdray.errors import DataError
from kdray.methods.targets import DenseTargets, Member
from kdray.model.ctranslate2 import FastTranslator, export
from kdray.model.draw import draw
from kdray.model.generate import Hypothesis, Sampling, SearchOptions, generate
from kdray.model.storage import load_model, load_shape
from kdray.model.transformer import Taps, Transformer
from kdray.seeds import derive_seed
from kdray.storage.record import RECORD
from kdray.storage.sealed import remove_broken, seal
from kdray.storage.whole import whole
from kdray.teacher.engine import Forced, Teacher, Translation
from kdray.teacher.ensemble import TOKENS_PER_BATCH, read_pairs, weigh
from kdray.text.batching import cuts
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

EXPORTED = "ctranslate2"


@dataclass(frozen=True, slots=True)
class OwnModels(Teacher):
    """Folders of models with one tokenizer; a single one is a teacher, or a student, of its own."""

    on_gpu: ClassVar[bool] = True
    has_pieces: ClassVar[bool] = True
    modes: ClassVar[frozenset[str]] = frozenset({"no_repeat_ngram", "prefix", "sampling"})

    members: tuple[Source, ...]
    weights: Literal["uniform", "perplexity"] = "uniform"

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of each model."""
        return tuple(member.fingerprint for member in self.members)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The models."""
        return self.members

    @property
    def identity(self) -> Mapping[str, str]:
        """With the weights of an ensemble's members."""
        weights = {"weights": self.weights} if len(self.members) > 1 else {}
        return {"teacher": "+".join(self.fingerprints), **weights}

    @property
    def by_perplexity(self) -> bool:
        """Whether the members weigh anew for each pair."""
        return self.weights == "perplexity" and len(self.members) > 1

    def num_params(self, fetch: Fetch) -> int:
        """Of all models together."""
        return sum(load_shape(fetch(member)).num_params() for member in self.members)

    def tokenizer_checksum(self, fetch: Fetch) -> str:
        """See `Teacher`."""
        return load_shape(fetch(self.members[0])).tokenizer

    def prepare(self, work: Path, fetch: Fetch, *, device: str) -> None:
        """Write the CTranslate2 form of a single model that is to run on a CPU."""
        if not self._is_exported(device):
            return
        if (wrong := remove_broken(work / EXPORTED)) is not None:
            logger.warning("%s; it is made anew", wrong)
        if not (work / EXPORTED).exists():
            folder = fetch(self.members[0])
            with whole(work / EXPORTED, record=RECORD) as exported:
                export(load_model(folder), Tokenizer.load(folder), exported)
                _prove_unchanged(self.members, fetch)
                seal(exported)

    def open(
        self, fetch: Fetch, *, device: str, threads: int, work: Path | None = None
    ) -> "OwnEngine":
        """Translate with CTranslate2 what was prepared, and all else with PyTorch.

        Raises:
            DataError: a folder holds no model, or the models have different vocabularies.
        """
        folder = fetch(self.members[0])
        tokenizer = Tokenizer.load(folder)
        load = cache(partial(self.reader, fetch, device=device))
        if work is None or not self._is_exported(device):
            models = load()
            positions, weighs = models.positions, self.by_perplexity
            return OwnEngine(tokenizer, positions, models, load, by_perplexity=weighs)
        positions = load_shape(folder).config.max_length
        translator = FastTranslator(
            work / EXPORTED, tokenizer, positions=positions, threads=threads
        )
        return OwnEngine(tokenizer, positions, translator, load)

    def reader(self, fetch: Fetch, *, device: str) -> "OnlineModels":
        """The models themselves.

        Raises:
            DataError: a folder holds no model, or the models have different vocabularies.
        """
        folders = [fetch(member) for member in self.members]
        first, *others = [load_shape(folder).tokenizer for folder in folders]
        for folder, tokenizer in zip(folders[1:], others, strict=True):
            if tokenizer != first:
                raise DataError(
                    f"{folder}: has the tokenizer {tokenizer}, but {folders[0]} has {first}; the "
                    "members of an ensemble must have been trained with the same one"
                )
        models = OnlineModels([load_model(folder).to(device) for folder in folders])
        _prove_unchanged(self.members, fetch)
        return models

    def _is_exported(self, device: str) -> bool:
        return len(self.members) == 1 and device == "cpu"


def _prove_unchanged(members: Sequence[Source], fetch: Fetch) -> None:
    """Raise DataError if what a user brought was changed while it was read."""
    for member in members:
        fetch(member)


@dataclass(frozen=True, slots=True)
class OwnEngine:
    """Models that are ready to translate; see `PieceEngine`.

    backend: what searches. load: gives the models themselves, which read and draw.
    """

    tokenizer: Tokenizer
    positions: int
    backend: "FastTranslator | OnlineModels"
    load: Callable[[], "OnlineModels"]
    by_perplexity: bool = False

    @property
    def vocabulary(self) -> int:
        """Number of target pieces."""
        return self.tokenizer.tgt_vocab

    def translate(
        self, src: Sequence[str], options: SearchOptions, refs: Sequence[str] | None = None
    ) -> list[list[Translation]]:
        """See `Engine`."""
        ids = self.tokenizer.encode_src(src)
        rows = [row for row, pieces in enumerate(ids) if len(pieces) <= self.positions]
        chosen = None if refs is None else [refs[row] for row in rows]
        hyps = self._search([ids[row] for row in rows], options, chosen)
        return self._in_place(dict(zip(rows, hyps, strict=True)), lines=len(src))

    def go_on(
        self, src: Sequence[str], prefixes: Sequence[str], options: SearchOptions
    ) -> list[list[Translation]]:
        """See `PieceEngine`."""
        ids = self.tokenizer.encode_src(src)
        given = [pieces[:-1] for pieces in self.tokenizer.encode_tgt(prefixes)]  # without </s>
        rows = [
            row
            for row, (pieces, before) in enumerate(zip(ids, given, strict=True))
            if len(pieces) <= self.positions and len(before) < self.positions
        ]
        chosen, before = [ids[row] for row in rows], [given[row] for row in rows]
        if isinstance(self.backend, FastTranslator):
            hyps = self.backend.translate(chosen, options, prefixes=before)
        else:
            hyps = generate(self.backend.models, chosen, options, prefixes=before)
        own = {
            row: [Hypothesis(hyp.ids[len(given[row]) :], hyp.score, hyp.finished) for hyp in best]
            for row, best in zip(rows, hyps, strict=True)
        }
        return self._in_place(own, lines=len(src))

    def sample(
        self, src: Sequence[str], *, seed: int, temperature: float
    ) -> list[list[Translation]]:
        """See `PieceEngine`."""
        seeds = [[derive_seed(seed, "sampling", row)] for row in range(len(src))]
        return self.draw(src, seeds=seeds, options=SearchOptions(sampling=Sampling(temperature)))

    def draw(
        self,
        src: Sequence[str],
        *,
        seeds: Sequence[Sequence[int]],
        options: SearchOptions,
        prefix: str = "",
    ) -> list[list[Translation]]:
        """See `DrawingEngine`."""
        ids = self.tokenizer.encode_src(src)
        given = self.tokenizer.encode_tgt([prefix])[0][:-1] if prefix else []
        fits = [row for row, pieces in enumerate(ids) if len(pieces) <= self.positions]
        rows = [row for row in fits for _ in seeds[row]] if len(given) < self.positions else []
        drawn = draw(
            self.load().models,
            [ids[row] for row in rows],
            seeds=[seed for row in fits for seed in seeds[row]][: len(rows)],
            options=options,
            prefix=given,
        )
        own: dict[int, list[Hypothesis]] = {}
        for row, hyp in zip(rows, drawn, strict=True):
            rest = Hypothesis(hyp.ids[len(given) :], hyp.score, hyp.finished)
            own.setdefault(row, []).append(rest)
        return self._in_place(own, lines=len(src))

    def force(self, src: Sequence[str], refs: Sequence[str]) -> Forced:
        """See `PieceEngine`."""
        sides = {
            "sources": self.tokenizer.encode_src(src),
            "references": self.tokenizer.encode_tgt(refs),
        }
        for side, ids in sides.items():
            long = [row for row, pieces in enumerate(ids, 1) if len(pieces) > self.positions]
            if long:
                raise DataError(
                    f"{len(long)} of {len(ids)} {side}, the first in line {long[0]}, are longer "
                    f"than the {self.positions} tokens that the model reads; split them, or leave "
                    "the set out"
                )
        sources, targets = (Sequences.from_lists(ids) for ids in sides.values())
        order = np.argsort(targets.lengths, kind="stable")
        loss, correct = 0.0, 0
        for rows in np.split(order, cuts(targets.lengths[order], most=TOKENS_PER_BATCH)):
            read, target = read_pairs(self.load(), sources, targets, rows)
            for block, part in read.blocks():
                logp_NV, labels_N = block.log_probs(), target.labels_N[part]
                loss -= float(logp_NV.gather(1, labels_N[:, None]).double().sum())
                correct += int((logp_NV.argmax(1) == labels_N).sum())
        return Forced(loss, correct, tokens=int(targets.lengths.sum()))

    def _in_place(
        self, hyps: Mapping[int, Sequence[Hypothesis]], *, lines: int
    ) -> list[list[Translation]]:
        """Hypotheses as translations of the lines that have some."""
        texts = iter(self.tokenizer.decode_tgt([hyp.ids for best in hyps.values() for hyp in best]))
        translations: list[list[Translation]] = [[] for _ in range(lines)]
        for row, best in hyps.items():
            translations[row] = [
                Translation(next(texts), hyp.score, hyp.finished, hyp.ids) for hyp in best
            ]
        return translations

    def _search(
        self, src: list[list[int]], options: SearchOptions, refs: Sequence[str] | None
    ) -> list[list[Hypothesis]]:
        if isinstance(self.backend, FastTranslator):
            return self.backend.translate(src, options)
        weights = None
        if self.by_perplexity and refs is not None:
            ref_ids = Sequences.from_lists(self.tokenizer.encode_tgt(refs))
            rows = np.arange(len(src))
            weights = weigh(self.backend, Sequences.from_lists(src), ref_ids, rows)
        return generate(self.backend.models, src, options, log_weights_BM=weights)


@dataclass(frozen=True, slots=True)
class OnlineModels:
    """Models that are ready to give distributions, in evaluation mode; see `OnlineTeacher`."""

    models: Sequence[Transformer]

    def __post_init__(self) -> None:
        for model in self.models:
            model.eval().requires_grad_(False)

    @property
    def positions(self) -> int:
        """The longest sequence that all models can read."""
        return min(model.config.max_length for model in self.models)

    @property
    def output_weights(self) -> list[Tensor]:
        """The output matrix of each model."""
        return [model.output_weight for model in self.models]

    def encode(self, src_BS: Tensor, src_mask_BS: Tensor) -> list[Tensor]:
        """Encoder states of each model."""
        with torch.no_grad():
            return [model.encode(src_BS, src_mask_BS) for model in self.models]

    def read(
        self,
        src_BS: Tensor,
        src_mask_BS: Tensor,
        inputs_BT: Tensor,
        positions_N: Tensor,
        *,
        temperature: float = 1.0,
        memories: Sequence[Tensor] | None = None,
    ) -> DenseTargets:
        """Distributions at the real positions of target sequences."""
        memories = memories or self.encode(src_BS, src_mask_BS)
        with torch.no_grad():
            members = []
            for model, memory in zip(self.models, memories, strict=True):
                hidden = model.decode(inputs_BT, memory, src_mask_BS).flatten(0, 1)
                members.append(Member(hidden.index_select(0, positions_N), model.output_weight))
        return DenseTargets(tuple(members), temperature)

    def transformer(self) -> Transformer:
        """The only model; the config refuses an ensemble where one is looked into."""
        (model,) = self.models
        return model

    def taps(self, src_BS: Tensor, src_mask_BS: Tensor, inputs_BT: Tensor) -> Taps:
        """Hidden states and attention maps of all layers of the only model."""
        model, taps = self.transformer(), Taps()
        with torch.no_grad():
            memory = model.encode(src_BS, src_mask_BS, taps=taps)
            model.decode(inputs_BT, memory, src_mask_BS, taps=taps)
        return taps
