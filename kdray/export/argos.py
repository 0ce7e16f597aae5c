"""A package of Argos Translate, which LibreTranslate reads as well.

It is a zip archive of one folder: `metadata.json`, a CTranslate2 model, one SentencePiece model for
both languages, a card, and a splitter of sentences. Without a splitter of its own, Argos Translate
downloads one when it first translates.
"""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import ctranslate2
import sentencepiece as spm
import torch

from kdray.config.export import ArgosConfig
from kdray.errors import DataError
from kdray.export.base import Export
from kdray.model.ctranslate2 import export
from kdray.model.generate import SearchOptions
from kdray.model.storage import load_model, load_shape
from kdray.teacher.engine import Engine, Translation
from kdray.text.tokenizer import Tokenizer

SPLITTER = Path(__file__).with_name("sentences.onnx")
"""A model of MiniSBD's form that cuts behind signs that end sentences; `tools/` has its source."""
VERSIONS = {"package_version": "1.0", "argos_version": "1.10"}
USERS_SEARCH = SearchOptions(beam=4, length_penalty=0.2)
"""How Argos Translate searches."""
_BATCH_TOKENS = 32
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of all files in the archive, so that equal ones are equal


def check_argos(config: ArgosConfig, student: Path) -> None:
    """Refuse a student that has no such form.

    Raises:
        DataError: the model has a vocabulary for each side.
    """
    if not (Tokenizer.load(student).joint and load_shape(student).shared):
        raise DataError(
            f"{student}: has a vocabulary for each side, and a package of Argos Translate has one "
            "SentencePiece model for both; write it as ctranslate2, or train with a joint tokenizer"
        )


def write_argos(config: ArgosConfig, student: Path, folder: Path) -> Mapping[str, Any]:
    """Write the archive. -> counts."""
    model, tokenizer = load_model(student), Tokenizer.load(student)
    metadata = {
        **VERSIONS,
        "type": "translate",
        "from_code": config.from_code,
        "from_name": config.from_name or config.from_code,
        "to_code": config.to_code,
        "to_name": config.to_name or config.to_code,
        "links": [],
    }
    with tempfile.TemporaryDirectory() as work:
        inner = Path(work)
        (inner / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n", "utf-8")
        (inner / "sentencepiece.model").write_bytes(tokenizer.src.serialized_model_proto())
        export(model, tokenizer, inner / "model", quantization="int8", for_strangers=True)
        (inner / "minisbd").mkdir()
        shutil.copyfile(SPLITTER, inner / "minisbd" / SPLITTER.name)
        files = [path for path in sorted(inner.rglob("*")) if path.is_file()]
        for path in files:
            _add(config, folder, str(path.relative_to(inner)), path.read_bytes())
    return {"parameters": model.num_params()}


def _add(config: ArgosConfig, folder: Path, name: str, content: bytes) -> None:
    """Add a file to the archive."""
    file = zipfile.ZipInfo(f"{_name(config)}/{name}", _EPOCH)
    file.external_attr = 0o644 << 16
    with zipfile.ZipFile(_archive(config, folder), "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(file, content, zipfile.ZIP_DEFLATED)


def _name(config: ArgosConfig) -> str:
    version = VERSIONS["package_version"].replace(".", "_")
    return f"translate-{config.from_code}_{config.to_code}-{version}"


def _archive(config: ArgosConfig, folder: Path) -> Path:
    return folder / f"{_name(config)}.argosmodel"


@dataclass(frozen=True, slots=True)
class ArgosEngine:
    """A package as Argos Translate uses it, line by line; see `Engine`.

    It is given how long translations may become, since Argos Translate lets them be of any length.
    """

    translator: ctranslate2.Translator
    tokenizer: spm.SentencePieceProcessor
    positions: int
    unpacked: tempfile.TemporaryDirectory[str]  # kept as long as the engine is

    @property
    def vocabulary(self) -> int:
        """Number of target pieces."""
        return int(self.tokenizer.get_piece_size())

    def translate(
        self, src: Sequence[str], options: SearchOptions, refs: Sequence[str] | None = None
    ) -> list[list[Translation]]:
        """See `Engine`."""
        pieces = [self.tokenizer.encode(line, out_type=str) for line in src]
        fits = [row for row, each in enumerate(pieces) if len(each) < self.positions]
        order = sorted(fits, key=lambda row: len(pieces[row]))
        found: list[list[Translation]] = [[] for _ in src]
        for length, group in groupby(order, key=lambda row: len(pieces[row])):
            rows = list(group)
            translated = self.translator.translate_batch(
                [pieces[row] for row in rows],
                replace_unknowns=True,
                max_batch_size=_BATCH_TOKENS,
                batch_type="tokens",
                beam_size=options.beam,
                num_hypotheses=options.num_hyps,
                length_penalty=options.length_penalty,
                max_decoding_length=options.max_length(length + 1, positions=self.positions),
                return_scores=True,
                return_end_token=True,
            )
            for row, output in zip(rows, translated, strict=True):
                found[row] = list(self._translations(output))
        return found

    def _translations(self, output: Any) -> Iterator[Translation]:  # noqa: ANN401
        for written, score in zip(output.hypotheses, output.scores, strict=True):
            ids = [int(self.tokenizer.piece_to_id(piece)) for piece in written]
            finished = written[-1:] == ["</s>"]
            text = self.tokenizer.decode_pieces(written[:-1] if finished else written)
            # so Argos Translate does: an underscore of the text is lost, too
            yield Translation(text.replace("_", " ").strip(), float(score), finished, ids)


def open_argos(config: ArgosConfig, folder: Path, /, *, positions: int, threads: int) -> Engine:
    """Unpack the archive as Argos Translate does."""
    unpacked = tempfile.TemporaryDirectory()
    with zipfile.ZipFile(_archive(config, folder)) as archive:
        archive.extractall(unpacked.name)
    inside = Path(unpacked.name) / _name(config)
    model = inside / "sentencepiece.model"
    before = torch.get_num_threads()
    translator = ctranslate2.Translator(
        str(inside / "model"), inter_threads=threads, intra_threads=1, compute_type="auto"
    )
    torch.set_num_threads(before)  # as in `FastTranslator`
    tokenizer = spm.SentencePieceProcessor(model_file=str(model))
    return ArgosEngine(translator, tokenizer, positions, unpacked)


_USAGE = """\
The file `*.argosmodel` is a package of Argos Translate 1.11 or later, and of LibreTranslate. It
needs no download: a splitter of sentences is in it.

```bash
argospm install *.argosmodel          # or argostranslate.package.install_from_path in a program
argos-translate --from FROM --to TO "…"
```

Of text with several sentences, each is translated alone; they are cut behind `.`, `!`, `?` and the
like, so an abbreviation in front of a space ends a sentence, too.
"""

ARGOS = Export(
    write_argos,
    check=check_argos,
    open=open_argos,
    is_exact=lambda config: False,
    search=USERS_SEARCH,
    add_card=lambda config, folder, card: _add(config, folder, "README.md", card.encode()),
    usage=_USAGE,
)
"""The form of Argos Translate and LibreTranslate."""
