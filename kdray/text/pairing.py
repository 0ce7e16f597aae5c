"""Joins by pair_id, and the proof that both sides of one belong together.

A row may have another row's pair_id, whatever the checksums of its file say. So each row that is
made of a pair also holds a hash of what it was made of, and every join compares these hashes.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from kdray.errors import DataError
from kdray.text.batching import Rows
from kdray.text.sequences import Sequences

ROWS_AT_A_TIME = 100_000
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no power of it is 0 modulo 2**64


def source_hashes(texts: Iterable[str]) -> NDArray[np.int64]:
    """A hash of each source text. -> [texts]."""
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype=np.int64)


def pair_hashes(src_hashes: NDArray[np.int64], targets: Sequences) -> NDArray[np.int64]:
    """A hash of each source together with the ids of a target sequence. -> [rows].

    It is a polynomial modulo 2**64, which finds every mistake that is not made on purpose.
    """
    hashes = src_hashes.astype(np.uint64) * _FACTOR
    longest = int(targets.lengths.max(initial=0))
    powers = np.multiply.accumulate(np.full(longest, _FACTOR))
    for start in range(0, len(targets), ROWS_AT_A_TIME):
        rows = np.arange(start, min(start + ROWS_AT_A_TIME, len(targets)))
        some = targets.take(rows)
        places = np.arange(len(some.values)) - np.repeat(some.offsets[:-1], some.lengths)
        terms = (some.values.astype(np.uint64) + np.uint64(1)) * powers[places]
        sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)))
        hashes[rows] += sums[some.offsets[1:]] - sums[some.offsets[:-1]]
    return hashes.view(np.int64)


def join(wanted: NDArray[np.int64], stored: NDArray[np.int64], *, what: str) -> Rows:
    """Where each wanted pair stands in `stored`.

    Raises:
        DataError: a pair is missing, or stands there twice.
    """
    order = np.argsort(stored, kind="stable")
    ordered = stored[order]
    if len(ordered) and (ordered[1:] == ordered[:-1]).any():
        raise DataError(f"{what}: the same pair_id stands there twice; remove it and run again")
    places = np.searchsorted(ordered, wanted)
    places[places == len(ordered)] = 0
    found = ordered[places] == wanted if len(ordered) else np.zeros(len(wanted), dtype=bool)
    if not found.all():
        missing = wanted[~found]
        raise DataError(
            f"{what}: {len(missing)} of {len(wanted)} pairs are missing, first {missing.min()}; "
            "remove it and run again"
        )
    return np.asarray(order[places], dtype=np.int64)


def check_pairs(
    hashes: NDArray[np.int64], wanted: NDArray[np.int64], pair_ids: NDArray[np.int64], *, what: str
) -> None:
    """Prove that rows were made of the pairs that they are joined with, by the hashes of both.

    Raises:
        DataError: some were made of other pairs.
    """
    wrong = np.flatnonzero(hashes != wanted)
    if len(wrong):
        raise DataError(
            f"{what}: {len(wrong)} of {len(wanted)} rows were made of another pair than the one "
            f"that their pair_id names, first {pair_ids[wrong[0]]}; remove it and run again"
        )
