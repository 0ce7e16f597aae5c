"""Walks through the space of a search: which dimensions count, its edges, all points of a grid."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kdray.config.dimensions import Dimension
from kdray.config.search import METHOD, SearchConfig

Values = Mapping[str, Any]
"""A point of the space: of each dimension that counts there its value."""
MOST_POINTS = 500  # planned before a search; each takes a few milliseconds


def in_order(config: SearchConfig) -> list[tuple[str, Dimension]]:
    """All dimensions, each after those that its condition asks for."""
    left, ordered = dict(config.dimensions), dict[str, Dimension]()
    while left:
        for path, dimension in list(left.items()):
            if all(other in ordered for other in dimension.when):
                ordered[path] = left.pop(path)
    return list(ordered.items())


def draw(config: SearchConfig, pick: Callable[[str, Dimension], Any]) -> dict[str, Any]:
    """A point of the space: `pick` chooses the value of each dimension that counts."""
    values: dict[str, Any] = {}
    for path, dimension in in_order(config):
        if dimension.counts(values):
            values[path] = pick(path, dimension)
    return values


def points(
    config: SearchConfig, values_of: Callable[[str, Dimension], Sequence[Any]]
) -> Iterator[dict[str, Any]]:
    """Every combination of these values, each point once, the last dimension varied fastest."""

    def following(
        left: Sequence[tuple[str, Dimension]], before: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        if not left:
            yield before
            return
        (path, dimension), *others = left
        if not dimension.counts(before):
            yield from following(others, before)
            return
        for value in values_of(path, dimension):
            yield from following(others, {**before, path: value})

    yield from following(in_order(config), {})


def grid(config: SearchConfig) -> list[dict[str, Any]]:
    """All points of a space whose dimensions have an end."""
    return list(points(config, lambda path, dimension: dimension.every or ()))


def num_trials(config: SearchConfig) -> int:
    """How many points are tried; a grid tries all of its own."""
    return len(grid(config)) if config.algorithm == "grid" else config.trials


def edges(config: SearchConfig) -> list[dict[str, Any]]:
    """Points all over the space: all choices, and of each range both ends and a number inside.

    Every combination of them; where those are many, the first and the last values of all
    dimensions, and each value beside the first ones of the others.
    """
    every = points(config, lambda path, dimension: dimension.edges)
    some = list(itertools.islice(every, MOST_POINTS + 1))
    if len(some) <= MOST_POINTS:
        return some
    alone = [
        {path: value} for path, dimension in config.dimensions.items() for value in dimension.edges
    ]
    return [
        draw(config, lambda path, dimension: dimension.edges[0]),
        draw(config, lambda path, dimension: dimension.edges[-1]),
        *(_around(config, fixed) for fixed in alone),
    ]


def decoded_points(config: SearchConfig) -> list[dict[str, Any]]:
    """All combinations of what signals are made for, beside the first values of the others."""

    def values_of(path: str, dimension: Dimension) -> Sequence[Any]:
        if path == METHOD or path in config.decode_for:
            return dimension.every or ()
        return dimension.edges[:1]

    return list(points(config, values_of)) if config.decode_for else []


def _around(config: SearchConfig, fixed: Values) -> dict[str, Any]:
    """A point with these values, and others that let them count; the rest are first ones."""
    needed = dict(fixed)
    for path in needed.copy():
        waiting = [path]
        while waiting:
            for other, wanted in config.dimensions[waiting.pop()].when.items():
                needed.setdefault(other, wanted[0])
                waiting.append(other)
    return draw(config, lambda path, dimension: needed.get(path, dimension.edges[0]))
