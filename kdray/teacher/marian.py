"""A model of Marian, as OPUS-MT publishes them, converted to CTranslate2 once."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from kdray.artifacts import Fetch, Key, Source
from kdray.config.foreign_teachers import MarianTeacherConfig
from kdray.errors import DataError
from kdray.jobs import Counts
from kdray.storage.hashed import Hashed
from kdray.teacher.converted import ConvertedEngine, load_pieces, open_engine, piece_files
from kdray.teacher.engine import Teacher

VERSION = 1
MODEL, PIECES = "model", ("source.spm", "target.spm")
DECODER = "decoder.yml"


@dataclass(frozen=True, slots=True)
class MarianConversionJob:
    """Convert weights and vocabularies; the SentencePiece models are copied beside them."""

    weights: Path
    vocabularies: tuple[Path, ...]
    pieces: tuple[Path, ...]
    checksums: tuple[str, ...]
    files: Hashed = field(compare=False)
    is_light: ClassVar[bool] = False
    reads: ClassVar[tuple[Key, ...]] = ()

    @classmethod
    def of(cls, config: MarianTeacherConfig) -> "MarianConversionJob":
        """Look for the files of a folder.

        Raises:
            DataError: one is missing or damaged.
        """
        path = Path(config.path).absolute()
        weights, vocabularies = _files(path)
        pieces = piece_files(config, path)
        names = (weights, *vocabularies, *pieces)
        files = Hashed.of(names)
        for file in pieces:
            load_pieces(file)
        checksums = tuple(files.sha256(file) for file in names)
        return cls(weights, vocabularies, pieces, checksums, files)

    @property
    def key(self) -> Key:
        """Of the contents of all files."""
        return Key("converted", VERSION, {"marian": list(self.checksums)})

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """Write the model. -> counts.

        Raises:
            DataError: it is of a kind that CTranslate2 does not know, damaged, or was changed
                while this went on.
        """
        from ctranslate2.converters import MarianConverter  # takes seconds

        converter = MarianConverter(str(self.weights), [str(path) for path in self.vocabularies])
        try:
            converter.convert(str(folder / MODEL))
        except Exception as error:  # of the reader of npz, of the vocabularies, of the checks
            raise DataError(
                f"{self.weights}: cannot be converted: {type(error).__name__}: {error}"
            ) from None
        for path, name in zip(self.pieces, PIECES, strict=True):
            shutil.copyfile(path, folder / name)
        self.files.prove()
        return {"bytes": (folder / MODEL / "model.bin").stat().st_size}


@dataclass(frozen=True, slots=True)
class MarianTeacher(Teacher):
    """A converted model as a job carries it."""

    on_gpu: ClassVar[bool] = True

    config: MarianTeacherConfig
    converted: Source

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of the model and how it is used."""
        recipe = {
            "source_prefix": list(self.config.source_prefix),
            "compute_type": self.config.compute_type,
        }
        inputs = {"converted": self.converted.fingerprint}
        return (Key("marian_teacher", 1, recipe, inputs).fingerprint,)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The conversion."""
        return (self.converted,)

    def open(
        self, fetch: Fetch, *, device: str, threads: int, work: Path | None = None
    ) -> ConvertedEngine:
        """Load the conversion.

        Raises:
            DataError: a file is missing or damaged.
        """
        folder = fetch(self.converted)
        return open_engine(
            folder / MODEL,
            [folder / name for name in PIECES],
            compute_type=self.config.compute_type,
            device=device,
            threads=threads,
            prefix=self.config.source_prefix,
        )


def _files(folder: Path) -> tuple[Path, tuple[Path, ...]]:
    """Weights and vocabularies: as `decoder.yml` names them, or the only ones of a folder."""
    if (folder / DECODER).is_file():
        models, vocabularies = (list(_named(folder, key)) for key in ("models", "vocabs"))
    else:
        models = [path for path in folder.glob("*.npz") if "optimizer" not in path.name]
        vocabularies = sorted(folder.glob("*vocab*.yml")) or sorted(folder.glob("*vocab*.yaml"))
    if len(models) != 1 or not 1 <= len(vocabularies) <= 2:
        raise DataError(
            f"recipe.teacher.path {folder}: has {len(models)} npz models and {len(vocabularies)} "
            f"YAML vocabularies; it needs one model, and one vocabulary or one for each side, "
            f"which {DECODER} may name as `models` and `vocabs`"
        )
    return models[0], tuple(vocabularies)


def _named(folder: Path, key: str) -> Iterator[Path]:
    path = folder / DECODER
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        names = [str(name) for name in content[key]]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise DataError(
            f"{path}: does not say as `{key}` which files of its folder they are: {error}"
        ) from None
    if outside := [name for name in names if Path(name).name != name]:
        raise DataError(
            f"{path}: names {outside[0]} among its `{key}`; files of its own folder alone are read"
        )
    for name in dict.fromkeys(names):
        if not (folder / name).is_file():
            raise DataError(f"{path}: names {name}, which is not there; copy the whole folder")
        yield folder / name
