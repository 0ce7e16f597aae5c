"""Which rows are lost, doubled, of another pair, or in another place? Each is named by its pair."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
MOST = 20  # damages of one kind that are named one by one


def at_most(damages: Iterable[str], *, most: int = MOST) -> Iterator[str]:
    """The first of them, and how many more there are."""
    damages = iter(damages)
    yield from islice(damages, most)
    if more := sum(1 for _ in damages):
        yield f"and {more} more like the last one"


def doubled(ids: Ids, *, what: str) -> Iterator[str]:
    """Pairs that stand there more than once."""
    order = np.argsort(ids, kind="stable")
    again = np.flatnonzero(ids[order][1:] == ids[order][:-1])
    for place in again:
        rows = sorted((int(order[place]), int(order[place + 1])))
        yield f"{what}: pair {ids[rows[0]]} stands in row {rows[0]} and again in row {rows[1]}"


def misplaced(ids: Ids, wanted: Ids, *, what: str, may_lack: int = 0) -> Iterator[str]:
    """How rows differ from the pairs that there must be, in their order.

    `may_lack`: so many may be missing, as those in quarantine are.
    """
    lost, unknown = np.setdiff1d(wanted, ids), np.setdiff1d(ids, wanted)
    if len(lost) != may_lack:
        if may_lack:
            yield f"{what}: {len(lost)} pairs of the corpus are missing, {may_lack} may be"
        yield from at_most(f"{what}: pair {pair} of the corpus is missing" for pair in lost)
    yield from at_most(f"{what}: pair {pair} is not one of the corpus" for pair in unknown)
    rest, expected = ids[np.isin(ids, wanted)], wanted[np.isin(wanted, ids)]
    if len(rest) == len(expected):
        moved = np.flatnonzero(rest != expected)
        yield from at_most(
            f"{what}: pair {rest[place]} stands where pair {expected[place]} should"
            for place in moved
        )


def of_another(ids: Ids, hashes: Ids, wanted_ids: Ids, wanted: Ids, *, what: str) -> Iterator[str]:
    """Rows whose hash is not that of the pair which they name; pairs that are unknown are left."""
    order = np.argsort(wanted_ids, kind="stable")
    places = np.searchsorted(wanted_ids[order], ids)
    places[places == len(order)] = 0
    if not len(order):
        return
    places = order[places]
    wrong = np.flatnonzero((wanted_ids[places] == ids) & (wanted[places] != hashes))
    yield from at_most(
        f"{what}, row {row}: was made of another text than pair {ids[row]} has" for row in wrong
    )


def of_count(found: int, promised: object, *, what: str) -> Iterator[str]:
    """A number of rows that is not the one that was promised."""
    if promised is not None and found != promised:
        yield f"{what}: has {found}, its record promises {promised}"
