"""What are p-values worth when many comparisons were made? Holm's correction."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key")

LEVEL = 0.05  # below it a corrected p is a finding


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down adjustment of p-values (Holm 1979), in the order given.

    If those below a level count as findings, any false one is at most as likely as the level,
    however the comparisons depend on one another.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def correct(p_values: Mapping[Key, float | None]) -> dict[Key, float | None]:
    """Holm's adjustment over all comparisons of a report; what was not tested (None) stays so."""
    tested = {key: p for key, p in p_values.items() if p is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    return {key: adjusted.get(key) for key in p_values}
