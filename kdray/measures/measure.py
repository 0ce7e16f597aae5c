"""A measure is a number, or the reason why there is none. Imports no torch: reports read it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Absent:
    """Why a measure has no value."""

    reason: str


Measures = Mapping[str, float | Absent]
"""By name, as `src/words_mean`; a slash separates groups."""


def flat(measures: Measures) -> dict[str, float]:
    """The measures that have a value."""
    return {name: value for name, value in measures.items() if not isinstance(value, Absent)}


def absent(measures: Measures) -> dict[str, str]:
    """Why the others have none."""
    return {name: value.reason for name, value in measures.items() if isinstance(value, Absent)}


def below(group: str, measures: Measures) -> dict[str, float | Absent]:
    """The same measures with a group before their names."""
    return {f"{group}/{name}": value for name, value in measures.items()}


def to_json(measures: Measures) -> dict[str, Any]:
    """As JSON values. Six digits stay: the last bits of a sum differ from machine to machine."""
    return {
        name: {"absent": value.reason}
        if isinstance(value, Absent)
        else value
        if isinstance(value, int)
        else float(f"{value:.6g}")
        for name, value in measures.items()
    }


def from_json(values: Mapping[str, Any]) -> dict[str, float | Absent]:
    """What `to_json` wrote."""
    return {
        name: Absent(value["absent"]) if isinstance(value, Mapping) else value
        for name, value in values.items()
    }


def in_groups(measures: Measures) -> dict[str, Any]:
    """Nested by groups, as a page shows facts: numbers, and `absent: reason`."""
    groups: dict[str, Any] = {}
    for name, value in measures.items():
        *path, last = name.split("/")
        group = groups
        for part in path:
            group = group.setdefault(part, {})
        group[last] = f"absent: {value.reason}" if isinstance(value, Absent) else value
    return groups
