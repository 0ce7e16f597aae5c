"""Which rows are equal to a row before them? Exactly, by 16 bytes of a digest for each.

Digests are pairs of 64-bit numbers, so that numpy compares and sorts them: a row takes 16 bytes of
memory where a Python set takes about 80.
"""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

Digests = NDArray[np.uint64]  # [rows, 2]


class Seen:
    """The digests that came before, in sorted runs, each at least twice as long as the next."""

    def __init__(self) -> None:
        self._runs: list[Digests] = []

    def ranks(self, digests: Digests) -> NDArray[np.int64]:
        """1 for each row that was there before, in this call or in one before it, else 0."""
        ranks = np.minimum(ranks_among(digests), 1)
        order = np.argsort(digests[:, 0], kind="stable")
        queries = digests[order]  # in order, they are looked up several times faster
        found = np.zeros(len(order), dtype=bool)
        for run in self._runs:
            found |= _contained(queries, run)
        ranks[order[found]] = 1
        if (fresh := digests[ranks == 0]).size:
            self._add(_sorted(fresh))
        return ranks

    def _add(self, run: Digests) -> None:
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = _sorted(np.concatenate((self._runs.pop(), run)))
        self._runs.append(run)


class Repeats:
    """How often each digest came before; for text whose repetitions are kept."""

    def __init__(self) -> None:
        self._counts: Counter[bytes] = Counter()

    def ranks(self, digests: Digests) -> NDArray[np.int64]:
        """For each row how many equal ones there were before it."""
        ranks = np.zeros(len(digests), dtype=np.int64)
        for row, digest in enumerate(digests):
            name = digest.tobytes()
            ranks[row] = self._counts[name]
            self._counts[name] += 1
        return ranks


def ranks_among(digests: Digests) -> NDArray[np.int64]:
    """For each row how many of those before it in this array are equal."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: equal ones stay in their order
    ordered = digests[order]
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    places = np.arange(len(order))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = places - np.maximum.accumulate(np.where(begins, places, 0))
    return ranks


def _sorted(digests: Digests) -> Digests:
    """By the first number; sorted parts are merged in linear time."""
    return np.asarray(digests[np.argsort(digests[:, 0], kind="stable")])


def _contained(queries: Digests, run: Digests) -> NDArray[np.bool_]:
    """Whether each query is in a run."""
    firsts, places = run[:, 0], np.searchsorted(run[:, 0], queries[:, 0])
    found = np.zeros(len(queries), dtype=bool)
    rows = np.arange(len(queries))
    while len(rows):  # once, unless two digests have the same first number
        inside = places[rows] < len(run)
        rows = rows[inside]
        rows = rows[firsts[places[rows]] == queries[rows, 0]]
        found[rows] |= run[places[rows], 1] == queries[rows, 1]
        rows = rows[~found[rows]]
        places[rows] += 1
    return found
