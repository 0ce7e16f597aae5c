"""A folder that a converter of CTranslate2 wrote, as a teacher: text in, text out."""

import json
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

import sentencepiece as spm

from kdray.artifacts import Brought, Fetch, Key, Source
from kdray.config.foreign_teachers import CTranslate2TeacherConfig, MarianTeacherConfig
from kdray.errors import DataError
from kdray.model.generate import SearchOptions
from kdray.storage.hashed import Hashed
from kdray.teacher.engine import Teacher, Translation
from kdray.teacher.piece_search import PieceTranslator, target_vocabulary

MODEL, CONFIG = "model.bin", "config.json"
OPUS_TAG = re.compile(">>.+<<")  # of a language, before a source of OPUS-MT
USUAL_PIECES = (
    ("source.spm", "target.spm"),
    ("src.model", "tgt.model"),
    *((name, name) for name in ("joint.model", "sentencepiece.model", "sentencepiece.bpe.model")),
    *((name, name) for name in ("spiece.model", "spm.model", "spm.128k.model")),
)
"""Names of the SentencePiece models of source and target, as tools write them."""


@dataclass(frozen=True, slots=True)
class ConvertedTeacher(Teacher):
    """A model of CTranslate2 and what cuts text into its pieces, as a job carries them.

    pieces: the SentencePiece models of source and target; none where spaces cut.
    """

    on_gpu: ClassVar[bool] = True

    config: CTranslate2TeacherConfig
    model: Brought
    pieces: tuple[Path, ...]

    @classmethod
    def of(cls, config: CTranslate2TeacherConfig) -> "ConvertedTeacher":
        """Look for its files; checksums of them stand for it.

        Raises:
            DataError: one is missing or damaged.
        """
        path = Path(config.path).absolute()
        folder, pieces = model_folder(path), piece_files(config, path)
        files = Hashed.of([*sorted(model_files(folder)), *pieces])
        positions_of(folder)  # what is damaged should be known before anything runs
        for file in pieces:
            load_pieces(file)
        places = {"path", "source_pieces", "target_pieces"}
        recipe = {
            "files": files.checksums,
            **config.model_dump(mode="json", exclude=places),
        }
        key = Key("ctranslate2_teacher", 1, recipe)
        return cls(config, Brought(folder, key.fingerprint, files), pieces)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of its files and how they are used."""
        return (self.model.fingerprint,)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The model's folder."""
        return (self.model,)

    def open(
        self, fetch: Fetch, *, device: str, threads: int, work: Path | None = None
    ) -> "ConvertedEngine":
        """Load the model and what cuts text.

        Raises:
            DataError: a file is missing or damaged.
        """
        config = self.config
        return open_engine(
            fetch(self.model),
            self.pieces,
            compute_type=config.compute_type,
            device=device,
            threads=threads,
            prefix=config.source_prefix,
            suffix=config.source_suffix,
            target_prefix=config.target_prefix,
        )


@dataclass(frozen=True, slots=True)
class ConvertedEngine:
    """A model of CTranslate2 that is ready to translate text; see `Engine`.

    models: of source and target; none where spaces cut.
    """

    translator: PieceTranslator
    models: tuple[spm.SentencePieceProcessor, ...]
    prefix: tuple[str, ...]
    suffix: tuple[str, ...]
    target_prefix: tuple[str, ...]
    vocabulary: ClassVar[int | None] = None

    @property
    def positions(self) -> int | None:
        """The longest source that it reads, in its own pieces."""
        return self.translator.positions

    def translate(
        self, src: Sequence[str], options: SearchOptions, refs: Sequence[str] | None = None
    ) -> list[list[Translation]]:
        """See `Engine`."""
        cut = self.models[0].encode(list(src), out_type=str) if self.models else map(str.split, src)
        pieces = [[*self.prefix, *line, *self.suffix] for line in cut]
        found = self.translator.search(pieces, options, prefix=self.target_prefix)
        return [
            [
                Translation(
                    self._text(hyp.pieces),
                    hyp.score,
                    hyp.finished,
                    num_pieces=len(hyp.pieces) + hyp.finished,
                )
                for hyp in best
            ]
            for best in found
        ]

    def _text(self, pieces: list[str]) -> str:
        if not self.models:
            return " ".join(pieces)
        text = str(self.models[-1].decode_pieces(pieces))
        return text.replace("▁", " ").strip()  # it leaves that in pieces of the other side


def open_engine(
    folder: Path,
    pieces: Sequence[Path],
    *,
    compute_type: str,
    device: str,
    threads: int,
    prefix: tuple[str, ...] = (),
    suffix: tuple[str, ...] | None = None,
    target_prefix: tuple[str, ...] = (),
) -> ConvertedEngine:
    """Load a model and what cuts text for it; see `CTranslate2TeacherConfig` for the rest.

    Raises:
        DataError: a file is missing or damaged.
    """
    facts = _facts(folder)
    end = str(facts.get("eos_token", "</s>"))
    if suffix is None:
        suffix = () if facts.get("add_source_eos") else (end,)
    translator = PieceTranslator(
        folder,
        positions=positions_of(folder),
        threads=threads,
        device=device,
        compute_type=compute_type,
        end=end,
        never={"<pad>", "<s>", *filter(OPUS_TAG.fullmatch, target_vocabulary(folder))},
        added=bool(facts.get("add_source_bos")) + bool(facts.get("add_source_eos")),
    )
    models = tuple(load_pieces(file) for file in pieces)
    return ConvertedEngine(translator, models, prefix, suffix, target_prefix)


def model_folder(path: Path) -> Path:
    """The folder with the model: the given one, or `model` in it, as kdray exports students.

    Raises:
        DataError: neither has one.
    """
    for folder in (path, path / "model"):
        if (folder / MODEL).is_file():
            return folder
    raise DataError(
        f"recipe.teacher.path {path}: holds no {MODEL}, neither itself nor in a folder `model`; "
        "name a folder that a converter of CTranslate2 wrote"
    )


def model_files(folder: Path) -> Iterator[Path]:
    """What CTranslate2 reads of a model's folder."""
    for pattern in (MODEL, CONFIG, "*vocabulary*.json", "*vocabulary*.txt"):
        yield from folder.glob(pattern)


def piece_files(
    config: CTranslate2TeacherConfig | MarianTeacherConfig, path: Path
) -> tuple[Path, ...]:
    """The SentencePiece models of source and target; none where spaces cut.

    Raises:
        DataError: one is missing, or none stands under a usual name.
    """
    if isinstance(config, CTranslate2TeacherConfig) and config.pieces == "spaces":
        return ()
    src, tgt = config.source_pieces, config.target_pieces
    names = (src or tgt, tgt or src)
    if names[0] is not None and names[1] is not None:
        files = tuple(_in(path, name) for name in names if name is not None)
        for file in files:
            if not file.is_file():
                raise DataError(
                    f"recipe.teacher: {file} is no file; source_pieces and target_pieces name the "
                    "SentencePiece models of the teacher"
                )
        return files
    for folder in (path, path / "model"):
        for usual in USUAL_PIECES:
            if all((folder / name).is_file() for name in usual):
                return tuple(folder / name for name in usual)
    known = ", ".join(dict.fromkeys(name for usual in USUAL_PIECES for name in usual))
    raise DataError(
        f"recipe.teacher.path {path}: no SentencePiece model is there under a usual name "
        f"({known}); name them as source_pieces and target_pieces, or set pieces to spaces"
    )


def load_pieces(path: Path) -> spm.SentencePieceProcessor:
    """Read a SentencePiece model, with whatever special pieces.

    Raises:
        DataError: it is none.
    """
    try:
        return spm.SentencePieceProcessor(model_proto=path.read_bytes())
    except (OSError, RuntimeError):
        raise DataError(f"{path}: not a SentencePiece model; copy it again") from None


def positions_of(folder: Path) -> int | None:
    """The longest sequence that a model has positions for; None: they are computed as needed.

    It is read of the shape of a table in `model.bin`, whose header stands before each of its
    variables: the name, the rank, the dimensions, the type and the number of bytes.

    Raises:
        DataError: the file is damaged, or of a format that is older than CTranslate2 2.
    """
    path, lengths = folder / MODEL, list[int]()
    try:
        with path.open("rb") as file:
            if _unpack(file, "<I") < 4:
                raise DataError(f"{path}: of a CTranslate2 before version 2; convert it again")
            _name(file)
            _unpack(file, "<I")
            for _ in range(_unpack(file, "<I")):
                name = _name(file)
                shape = [_unpack(file, "<I") for _ in range(_unpack(file, "<B"))]
                file.seek(1, 1)
                file.seek(_unpack(file, "<I"), 1)
                if name.endswith("position_encodings/encodings") and shape:
                    lengths.append(shape[0])
    except (OSError, struct.error, UnicodeDecodeError):
        raise DataError(f"{path}: not a model of CTranslate2, or damaged; copy it again") from None
    return min(lengths, default=None)


def _name(file: BinaryIO) -> str:
    return file.read(_unpack(file, "<H")).rstrip(b"\0").decode()


def _unpack(file: BinaryIO, form: str) -> int:
    (value,) = struct.unpack(form, file.read(struct.calcsize(form)))
    return int(value)


def _in(folder: Path, name: str) -> Path:
    """A file of a folder, or of the current one if it is not there; an absolute path stays."""
    inside = folder / name
    return inside if inside.is_file() else Path(name).absolute()


def _facts(folder: Path) -> dict[str, object]:
    """What the model's own configuration says; older folders have none."""
    try:
        facts = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / CONFIG}: cannot be read: {error}") from None
    return facts if isinstance(facts, dict) else {}
