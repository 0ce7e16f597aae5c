"""How many padded tokens may a batch of this process hold, and what says that memory is short?

The number is one for the whole process, as the number of torch's threads is: everything that
translates or reads in batches asks here, so one place can lower it when memory runs out.
"""

import numpy as np

from kdray.text.batching import Rows

START, LEAST = 1024, 16
"""Padded tokens of a batch at first, and those below which memory is not what is wrong."""

_tokens = START


def tokens_per_batch() -> int:
    """The most padded tokens of a batch: its sequences times the length of the longest."""
    return _tokens


def set_tokens_per_batch(tokens: int) -> None:
    """Change it for everything that this process does from now on."""
    global _tokens
    _tokens = max(tokens, LEAST)


def halve() -> bool:
    """Halve it after memory ran out. -> whether there was something to halve."""
    before = _tokens
    set_tokens_per_batch(before // 2)
    return _tokens < before


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory: torch's, CTranslate2's, NumPy's, Python's."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in said or "bad_alloc" in said)


def padded_cuts(lengths: Rows, *, most: int | None = None) -> list[int]:
    """Rows before which to cut, so that no part has more than `most` padded tokens.

    The rows are sorted by length, shortest first. A row that is longer is a part of its own.
    """
    most = tokens_per_batch() if most is None else most
    stops: list[int] = []
    start = 0
    for row, length in enumerate(np.asarray(lengths).tolist()):
        if row > start and (row + 1 - start) * length > most:
            stops.append(row)
            start = row
    return stops
