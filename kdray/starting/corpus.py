"""Which of the files that were found are trained on, which choose, which test?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kdray.config.faults import faults
from kdray.config.text import FilesCorpusConfig
from kdray.errors import InputError
from kdray.starting.holding_out import FOLDER, hold_out
from kdray.starting.looking import Pairs, look_at
from kdray.text.readers import read_pairs

LEAST_PAIRS = 100


@dataclass(frozen=True, slots=True)
class FoundCorpus:
    """A corpus in a folder, and how large it is.

    Attributes:
        section: what a configuration says of it.
        pairs: how many pairs there are to train on.
        words: of all their targets, as white space separates them.
        notes: what was decided without being asked, in words.
    """

    section: Mapping[str, Any]
    pairs: int
    words: int
    notes: Sequence[str]


def find_corpus(folder: Path, src_lang: str | None, tgt_lang: str | None) -> FoundCorpus:
    """The corpus in a folder, in the direction that is asked for as far as it is.

    Where dev or tests are missing, they are held out of the training pairs and written beside them.

    Raises:
        InputError: there are no pairs, too few, or it is not clear what is to be trained on.
        DataError: a file cannot be read.
    """
    asked = (src_lang, tgt_lang)
    found = [_directed(pairs, src_lang, tgt_lang) for pairs in look_at(folder, asked)]
    train = _training_pairs(folder, found)
    devs = [pairs for pairs in found if pairs.role == "dev"]
    tests = {pairs.name: pairs.source for pairs in found if pairs.role == "test"}
    src, tgt = src_lang or train.languages[0], tgt_lang or train.languages[1]
    notes = [f"{src} is translated into {tgt}; --src and --tgt say otherwise"]
    for pairs in (*(p for p in found if p.role is None and p is not train), *devs[1:]):
        notes.append(f"{pairs.name} is not used, since it is neither train nor test, nor alone dev")
    section: dict[str, Any] = {
        "kind": "files",
        "folder": str(folder.absolute()),
        "src_lang": src,
        "tgt_lang": tgt,
        "train": train.source,
        "dev": (devs or [train])[0].source,
        "tests": tests or {"test": train.source},
    }
    count = words = 0
    for _, text in _read(section, folder):
        count += 1
        words += len(text.split())
    if count < LEAST_PAIRS:
        raise InputError(f"{folder}: {count} training pairs; {LEAST_PAIRS} are the least to begin")
    if missing := [*([] if devs else ["dev"]), *([] if tests else ["test"])]:
        parts = hold_out(_read(section, folder), count, missing, folder)
        section["train"] = parts["train"]
        section["dev"] = parts.get("dev", section["dev"])
        section["tests"] = {"test": parts["test"]} if "test" in parts else tests
        notes.append(
            f"there is no {' and no '.join(missing)}: pairs are held out of {train.name} and "
            f"written to {folder / FOLDER}"
        )
    return FoundCorpus(section, count, words, notes)


def _training_pairs(folder: Path, found: Sequence[Pairs]) -> Pairs:
    """The pairs to train on: those whose name says so, or the only ones that say nothing.

    Raises:
        InputError: there are none, or several.
    """
    if not found:
        raise InputError(
            f"{folder}: no sentence pairs found; put two files there whose names differ in the "
            "language (train.en and train.de), or a .tsv, .jsonl, .parquet or .tmx with both sides"
        )
    named = [pairs for pairs in found if pairs.role == "train"]
    candidates = named or [pairs for pairs in found if pairs.role is None]
    if len(candidates) != 1:
        names = ", ".join(pairs.name for pairs in candidates or found)
        raise InputError(
            f"{folder}: cannot tell which pairs to train on, there are {names}; give one of them "
            "a name that begins with train, and move what does not belong to the study elsewhere"
        )
    return candidates[0]


def _directed(pairs: Pairs, src_lang: str | None, tgt_lang: str | None) -> Pairs:
    """Pairs in the direction that was asked for, as far as their names tell languages."""
    src, tgt = pairs.languages
    against = src_lang == tgt if src_lang is not None else tgt_lang == src
    return pairs.turned() if against and src != tgt else pairs


def _read(section: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, str]]:
    """The training pairs, by the readers of a study."""
    try:
        config = FilesCorpusConfig.model_validate(section)
    except ValidationError as error:
        raise InputError("\n".join(faults(error, str(folder), FilesCorpusConfig))) from None
    return read_pairs(config.train, folder)
