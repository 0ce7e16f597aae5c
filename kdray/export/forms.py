"""The forms of this package: a table that installed packages complete."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdray.config.export import CTranslate2Config
from kdray.config.outside import failures, outside_kinds
from kdray.errors import ConfigError
from kdray.export.base import Export
from kdray.model.ctranslate2 import export
from kdray.model.storage import load_model
from kdray.text.tokenizer import Tokenizer


def write_ctranslate2(config: CTranslate2Config, student: Path, folder: Path) -> Mapping[str, Any]:
    """Write the folder that CTranslate2 loads, and the tokenizer beside it. -> counts."""
    tokenizer = Tokenizer.load(student)
    quantization = None if config.quantization == "float32" else config.quantization
    export(load_model(student), tokenizer, folder / "model", quantization=quantization)
    tokenizer.save(folder)
    return {"bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())}


EXPORTS: Mapping[str, Export] = {"ctranslate2": Export(write_ctranslate2)}
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
