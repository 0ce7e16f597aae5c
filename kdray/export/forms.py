"""The forms of this package: a table that installed packages complete."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdray.artifacts import Brought
from kdray.config.export import CTranslate2Config, SafetensorsConfig
from kdray.config.outside import failures, outside_kinds
from kdray.errors import ConfigError
from kdray.export.argos import ARGOS
from kdray.export.base import Export
from kdray.export.generating import open_pegasus
from kdray.export.pegasus import check_pegasus, write_pegasus
from kdray.model.ctranslate2 import FastTranslator, export
from kdray.model.storage import SHAPE, WEIGHTS, load_model
from kdray.teacher.engine import Engine
from kdray.teacher.own import OwnEngine, OwnModels
from kdray.text.tokenizer import Tokenizer


def write_ctranslate2(config: CTranslate2Config, student: Path, folder: Path) -> Mapping[str, Any]:
    """Write the folder that CTranslate2 loads, and the tokenizer beside it. -> counts."""
    tokenizer, model = Tokenizer.load(student), load_model(student)
    quantization = None if config.quantization == "float32" else config.quantization
    export(model, tokenizer, folder / "model", quantization=quantization)
    tokenizer.save(folder)
    return {"parameters": model.num_params()}


def _open_ctranslate2(
    config: CTranslate2Config, folder: Path, /, *, positions: int, threads: int
) -> Engine:
    tokenizer = Tokenizer.load(folder)
    is_half = config.quantization == "float16"  # for which most CPUs have no arithmetic
    translator = FastTranslator(
        folder / "model",
        tokenizer,
        positions=positions,
        threads=threads,
        compute_type="float32" if is_half else config.quantization,
    )
    return OwnEngine(tokenizer, positions, translator, _no_distributions)


def _no_distributions() -> Any:  # noqa: ANN401
    raise AssertionError("a form is asked for translations alone")


def write_safetensors(config: SafetensorsConfig, student: Path, folder: Path) -> Mapping[str, Any]:
    """Copy the weights, the shape and the tokenizer. -> counts."""
    for name in (SHAPE, WEIGHTS):
        shutil.copyfile(student / name, folder / name)
    Tokenizer.load(student).save(folder)
    return {"parameters": load_model(folder).num_params()}


def _open_safetensors(
    config: SafetensorsConfig, folder: Path, /, *, positions: int, threads: int
) -> Engine:
    return OwnModels((Brought(folder, ""),)).open(lambda _: folder, device="cpu", threads=threads)


_CTRANSLATE2_USAGE = """\
`ctranslate2.Translator` loads the folder `model`. Cut sources into pieces with the SentencePiece
model beside it (the one of the source, where there are two), and append `</s>`:

```python
import ctranslate2, sentencepiece

source = sentencepiece.SentencePieceProcessor(model_file="joint.model")
translator = ctranslate2.Translator("model")
pieces = source.encode("…", out_type=str) + ["</s>"]
(best,) = translator.translate_batch([pieces], beam_size=5, disable_unk=True,
                                     suppress_sequences=[["<pad>"], ["<s>"]], max_input_length=0)
print(source.decode(best.hypotheses[0]))
```
"""

_HUGGINGFACE_USAGE = """\
```python
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer, model = (each.from_pretrained(".") for each in (AutoTokenizer, AutoModelForSeq2SeqLM))
ids = model.generate(**tokenizer("…", return_tensors="pt"))
print(tokenizer.batch_decode(ids, skip_special_tokens=True))
```

The tokenizer takes the names of special pieces in text (`<pad>`, `<unk>`, `<s>`, `</s>`) for these
pieces; the student itself reads them as text.
"""

_SAFETENSORS_USAGE = """\
`python -m kdray.translate` takes this folder as its model, and so does `recipe.teacher` with
`kind: checkpoint`. The weights are a file of safetensors, and `model.json` is the shape of the
Transformer that they belong to.
"""

EXPORTS: Mapping[str, Export] = {
    "ctranslate2": Export(
        write_ctranslate2,
        open=_open_ctranslate2,
        is_exact=lambda config: config.quantization == "float32",
        usage=_CTRANSLATE2_USAGE,
    ),
    "huggingface": Export(
        lambda config, student, folder: write_pegasus(student, folder),
        check=lambda config, student: check_pegasus(student),
        open=open_pegasus,
        usage=_HUGGINGFACE_USAGE,
    ),
    "argos": ARGOS,
    "safetensors": Export(write_safetensors, open=_open_safetensors, usage=_SAFETENSORS_USAGE),
}
"""The forms of this package, by the kind of their configuration."""

GROUP = "kdray.export"
"""Entry points of other packages: a `Export` for each kind."""


def export_of(kind: str) -> Export:
    """The form that a kind of configuration describes.

    Raises:
        ConfigError: nobody writes it.
    """
    form = EXPORTS.get(kind) or outside_kinds(GROUP).get(kind)
    if not isinstance(form, Export):
        shown = "nothing that can be loaded" if form is None else repr(form)
        problem = (
            f"exports: the entry point {kind} in the group {GROUP} gives {shown}; it must name a "
            "kdray.export.base.Export"
        )
        raise ConfigError("\n".join((problem, *failures)))
    return form
