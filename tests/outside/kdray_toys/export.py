"""A form of students that holds little: some of the pieces that they write."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdray.export.base import Export
from kdray.text.tokenizer import Tokenizer
from kdray_toys.export_config import WordsConfig


def write(config: WordsConfig, student: Path, folder: Path) -> Mapping[str, Any]:
    pieces = Tokenizer.load(student).tgt_pieces()[: config.first]
    (folder / "words.txt").write_text("\n".join(pieces), encoding="utf-8")
    return {"words": len(pieces)}


WORDS = Export(write, version=2)
