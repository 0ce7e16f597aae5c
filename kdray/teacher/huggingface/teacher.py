"""A model of Hugging Face as a teacher: its conversion translates, torch gives distributions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

from kdray.artifacts import Fetch, Key, Source, read_json
from kdray.config.foreign_teachers import HuggingFaceTeacherConfig
from kdray.errors import DataError
from kdray.model.generate import SearchOptions
from kdray.teacher.converted import positions_of
from kdray.teacher.engine import Teacher, Translation
from kdray.teacher.huggingface.conversion import FACTS, MODEL, TOKENIZER
from kdray.teacher.huggingface.folder import Origin, need_packages
from kdray.teacher.huggingface.languages import Languages, languages_of, load_tokenizer
from kdray.teacher.huggingface.reader import HuggingFaceReader, read_model
from kdray.teacher.piece_search import PieceTranslator
from kdray.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class HuggingFaceTeacher(Teacher):
    """A converted model as a job carries it. It knows text alone.

    converted: what `ConversionJob` made of `origin`.
    """

    on_gpu: ClassVar[bool] = True

    config: HuggingFaceTeacherConfig
    origin: Origin
    converted: Source

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of the model and how it is used."""
        places = {"kind", "path", "hub", "revision"}
        recipe = self.config.model_dump(mode="json", exclude=places)
        inputs = {"converted": self.converted.fingerprint}
        return (Key("huggingface_teacher", 1, recipe, inputs).fingerprint,)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The conversion."""
        return (self.converted,)

    def open(
        self, fetch: Fetch, *, device: str, threads: int, work: Path | None = None
    ) -> "HuggingFaceEngine":
        """Load the conversion and the tokenizer.

        Raises:
            DataError: a file is missing or damaged, or the model lacks a language.
            ConfigError: a language is missing in the configuration, or a package is not installed.
        """
        folder = fetch(self.converted)
        facts = read_json(folder / FACTS)
        codec = self._codec(folder / TOKENIZER, facts["model_type"])
        never = {*facts["never"], *codec.languages.never}
        translator = PieceTranslator(
            folder / MODEL,
            positions=positions_of(folder / MODEL),
            threads=threads,
            device=device,
            compute_type=self.config.compute_type,
            end=facts["tgt"][facts["end"]],
            never=[facts["tgt"][i] for i in never],
        )
        return HuggingFaceEngine(translator, codec, facts)

    def _codec(self, folder: Path, model_type: str) -> "Codec":
        need_packages()
        tokenizer = load_tokenizer(folder)
        return TheirCodec(tokenizer, languages_of(tokenizer, model_type, self.config))


@dataclass(frozen=True, slots=True)
class SharedHuggingFaceTeacher(HuggingFaceTeacher):
    """One whose ids are those of a kdray tokenizer in its folder, which its students share."""

    has_pieces: ClassVar[bool] = True

    def _codec(self, folder: Path, model_type: str) -> "Codec":
        return OurCodec(Tokenizer.load(folder), languages_of(None, model_type, self.config))

    def tokenizer_checksum(self, fetch: Fetch) -> str:
        """See `Teacher`."""
        return Tokenizer.load(fetch(self.converted) / TOKENIZER).checksum

    def reader(self, fetch: Fetch, *, device: str) -> HuggingFaceReader:
        """Load the model itself.

        Raises:
            DataError: it cannot be read, was changed since its content was hashed, or is of
                another vocabulary than its tokenizer.
        """
        need_packages()
        folder = self.origin.folder()
        model = read_model(folder, Tokenizer.load(folder), device=device)
        self.origin.prove()
        return model


class Codec(Protocol):
    """What cuts text into the ids of a model, and puts ids together."""

    @property
    def languages(self) -> Languages:
        """What is said of languages."""

    def encode(self, src: Sequence[str]) -> list[list[int]]:
        """Ids of sources, with their tags and their end."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of target ids."""


@dataclass(frozen=True, slots=True)
class TheirCodec:
    """A tokenizer of Hugging Face."""

    tokenizer: Any
    languages: Languages

    def encode(self, src: Sequence[str]) -> list[list[int]]:
        """See `Codec`."""
        if not src:
            return []
        lines = [f"{self.languages.before}{line}" for line in src]
        rows: list[list[int]] = self.tokenizer(lines, verbose=False)["input_ids"]
        return rows

    def decode(self, ids: Sequence[int]) -> str:
        """See `Codec`."""
        text = self.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(text).strip()


@dataclass(frozen=True, slots=True)
class OurCodec:
    """A tokenizer of kdray, to which special pieces that a text names are no special ones."""

    tokenizer: Tokenizer
    languages: Languages

    def encode(self, src: Sequence[str]) -> list[list[int]]:
        """See `Codec`."""
        return self.tokenizer.encode_src(src)

    def decode(self, ids: Sequence[int]) -> str:
        """See `Codec`."""
        return self.tokenizer.decode_tgt([ids])[0]


@dataclass(frozen=True)
class HuggingFaceEngine:
    """A converted model that is ready to translate text; see `Engine`."""

    translator: PieceTranslator
    codec: Codec
    facts: Mapping[str, Any]

    @property
    def positions(self) -> int | None:
        """The longest source that it reads, in its own pieces and with tags."""
        return self.translator.positions

    @property
    def vocabulary(self) -> int | None:
        """Number of its target pieces."""
        return len(self.facts["tgt"])

    def translate(
        self, src: Sequence[str], options: SearchOptions, refs: Sequence[str] | None = None
    ) -> list[list[Translation]]:
        """See `Engine`."""
        end, text = self.facts["end"], self.codec.decode
        return [
            [
                Translation(text(ids), score, finished, [*ids, end] if finished else ids)
                for ids, score, finished in best
            ]
            for best in self.search(self.codec.encode(src), options)
        ]

    def search(
        self, rows: Sequence[Sequence[int]], options: SearchOptions, **how: int
    ) -> list[list[tuple[list[int], float, bool]]]:
        """For ids of sources the ids of translations, their scores, and whether they ended."""
        src, tgt = self.facts["src"], self.facts["tgt"]
        pieces = [[src[i] for i in row] for row in rows]
        prefix = [tgt[i] for i in self.codec.languages.forced]
        found = self.translator.search(pieces, options, prefix=prefix, **how)
        ids = self._ids
        return [
            [([ids[piece] for piece in hyp.pieces], hyp.score, hyp.finished) for hyp in best]
            for best in found
        ]

    @cached_property
    def _ids(self) -> Mapping[str, int]:
        return {piece: i for i, piece in enumerate(self.facts["tgt"])}


def shared_tokenizer(folder: Path) -> Tokenizer:
    """The kdray tokenizer in the folder of a model, whose ids are the model's.

    Raises:
        DataError: there is none, so students cannot have this vocabulary.
    """
    try:
        return Tokenizer.load(folder)
    except DataError as error:
        raise DataError(
            f"recipe.teacher.path {folder}: its vocabulary is not one that students can share, "
            f"since it has no tokenizer of kdray ({error}); give the students a vocabulary of "
            "their own with recipe.tokenizer, and methods that learn from translations"
        ) from None
