"""Dev and test pairs for a corpus that has none: held out of its training pairs.

A hash of the source decides, so pairs with one source stay together, and the same file is always
divided in the same way.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kdray.config.text import CleaningConfig
from kdray.storage.whole import whole
from kdray.text.cleaning import fault, stripped
from kdray.text.compared import compared

SHARE, MOST = 0.05, 1000
"""Of the pairs, about so large a share is held out for each set; never more than about so many."""
FOLDER = "held-out"


def hold_out(
    pairs: Iterable[tuple[str, str]], count: int, sets: Sequence[str], folder: Path
) -> dict[str, dict[str, Any]]:
    """Divide pairs, of which there are so many, into sets and the rest, as JSON lines.

    -> each of the sets, and `train`, as a configuration names a file in the corpus folder. A source
    that stands in several pairs is once in its set. What cleaning drops from the training pairs is
    left among them, where it is counted: dev and tests are not cleaned.
    """
    share = min(SHARE, MOST / max(count, 1))
    (folder / FOLDER).mkdir(exist_ok=True)
    with ExitStack() as stack:
        files = {}
        for name in (*sets, "train"):
            aside = stack.enter_context(whole(folder / FOLDER / f"{name}.jsonl"))
            files[name] = stack.enter_context(aside.open("w", encoding="utf-8"))
        taken: set[str] = set()
        for src, tgt in pairs:
            place = int(_place(src) / share)
            name = sets[place] if place < len(sets) and _is_clean(src, tgt) else "train"
            if name != "train" and src in taken:
                continue
            if name != "train":
                taken.add(src)
            files[name].write(json.dumps({"src": src, "tgt": tgt}, ensure_ascii=False) + "\n")
    fields = {"format": "jsonl", "src_field": "src", "tgt_field": "tgt"}
    return {name: {**fields, "path": f"{FOLDER}/{name}.jsonl"} for name in (*sets, "train")}


def _is_clean(src: str, tgt: str) -> bool:
    """Whether a pair is kept by the cleaning of a study that begins."""
    pair = stripped((src, tgt))
    return fault(CleaningConfig(), None, pair, *map(compared, pair)) is None


def _place(src: str) -> float:
    """A number from 0 to 1, as good as drawn."""
    digest = hashlib.blake2b(src.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
