"""Data sets in Hugging Face's form, copied once into a file of JSON lines that stays the same.

The package `datasets` is optional. It runs no code of a data set (versions from 4 have no way to),
and what is not a local folder needs the commit that is meant.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from kdray.config.sources import HuggingFacePairs
from kdray.errors import DataError
from kdray.storage.caches import cache_folder
from kdray.storage.disk import disk_errors
from kdray.storage.whole import whole
from kdray.text.lines import one_line
from kdray.text.places import folder_of

SRC, TGT = "src", "tgt"
"""Fields of the copy."""


def copied_data_set(source: HuggingFacePairs, folder: str | Path) -> Path:
    """The local copy of a split: a JSON object on each line, with `SRC` and `TGT`.

    Raises:
        DataError: the package, the data set, the split or a field is missing, or a field holds no
            text.
    """
    home = folder_of(folder, source.path)
    if home is None and source.revision is None:
        raise DataError(
            f"{source.path}: is no folder in {folder}; correct it, or for a data set of the hub "
            "give its commit as revision, since a name may mean other data tomorrow"
        )
    identity = [source.model_dump(mode="json"), *_state(home)]
    name = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]
    place = cache_folder("sources") / f"{name}.jsonl"
    if not place.is_file():
        rows = _rows(source, home)
        first = next(rows, None)
        with disk_errors(place), whole(place) as aside, aside.open("w", encoding="utf-8") as file:
            for number, row in enumerate(chain([] if first is None else [first], rows), start=1):
                where = f"{source.path}, split {source.split}, row {number}"
                src, tgt = (_text(row, f, where) for f in (source.src_field, source.tgt_field))
                file.write(json.dumps({SRC: src, TGT: tgt}) + "\n")
    return place


def _state(home: Path | None) -> Iterator[list[object]]:
    """What tells whether the files of a local data set are still the same."""
    for path in sorted(home.rglob("*")) if home is not None else ():
        with suppress(FileNotFoundError):
            state = path.stat()
            yield [str(path), state.st_size, state.st_mtime_ns]


def _rows(source: HuggingFacePairs, home: Path | None) -> Iterator[dict[str, Any]]:
    try:
        import datasets
    except ImportError:
        raise DataError(
            f"{source.path}: format huggingface needs the package `datasets`; install it with "
            "`pip install 'kdray[huggingface]'`"
        ) from None
    try:
        saved = home if source.subset is None or home is None else home / source.subset
        if saved is not None and _is_saved(saved):
            loaded = datasets.load_from_disk(str(saved))
            loaded = loaded[source.split] if isinstance(loaded, dict) else loaded
        else:
            loaded = datasets.load_dataset(
                str(home or source.path),
                source.subset,
                split=source.split,
                revision=source.revision,
            )
    except Exception as error:  # whatever the package and its network raise
        raise DataError(
            f"{source.path}: cannot be loaded as a data set ({one_line(error) or type(error)}); "
            "correct path, subset, split or revision, or load it once where there is a network"
        ) from None
    yield from loaded


def _is_saved(home: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return any((home / name).exists() for name in ("dataset_dict.json", "state.json"))


def _text(row: object, field: str, where: str) -> str:
    value = row
    for key in field.split("."):
        if not isinstance(value, dict) or key not in value:
            there = f"fields {sorted(value)}" if isinstance(value, dict) else type(value).__name__
            raise DataError(
                f"{where}: no field {field}, there are {there}; correct src_field or tgt_field"
            )
        value = value[key]
    if not isinstance(value, str):
        raise DataError(f"{where}: field {field} holds {value!r:.60}, which is not a string")
    return value
