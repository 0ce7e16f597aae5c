"""Several studies in one report: each is a value of an axis of its own, called `study`."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from kdray.cell import Cell, Point, within
from kdray.condition import Condition
from kdray.errors import ConfigError
from kdray.reporting.facts import STUDIES, StudyFacts
from kdray.reporting.numbers import listed
from kdray.runner.reporting import Measured
from kdray.scoring.result import Result


def joined(parts: Sequence[Measured]) -> Measured:
    """What several studies measured, side by side.

    Raises:
        ConfigError: two studies have one name, differ in what all tables of a report share, or
            hold a comparison of the same models.
    """
    names = [part.facts.name for part in parts]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ConfigError(
            f"two of the studies are called {repeated[0]!r}; give each a name of its own "
            "(--set name=… holds for all of them, so write it into the files)"
        )
    _check_axes(names, [part.facts for part in parts])
    _check_same("recipe.baseline", names, [part.facts.baseline for part in parts])
    _check_same("the beam of the verdict", names, [part.facts.main_beam for part in parts])
    _check_same("the budget of students", names, [part.facts.budget for part in parts])
    for one, other in combinations(parts, 2):
        _check_not_the_same(one, other)
    every = [_placed(part) for part in parts]
    return Measured(
        facts=_facts([part.facts for part in every], names),
        results=[result for part in every for result in part.results],
        curves={cell: rows for part in every for cell, rows in part.curves.items()},
        gates=[readings for part in every for readings in part.gates],
        costs=None,
    )


def _check_same(what: str, names: Sequence[str], values: Sequence[object]) -> None:
    if any(value != values[0] for value in values):
        told = ", ".join(f"{value} in {name}" for name, value in zip(names, values, strict=True))
        raise ConfigError(
            f"{what} is {told}: one report compares what has it in common; set it to the same in "
            "all studies"
        )


def _check_not_the_same(one: Measured, other: Measured) -> None:
    """Refuse a comparison that stands in both studies: it would count twice.

    A single method may be in common, such as a baseline that was trained once.
    """
    ours, theirs = ({_what(each) for each in _students(part)} for part in (one, other))
    is_part = ours <= theirs or theirs <= ours
    methods: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in _students(one):
        if _what(each) in theirs:
            methods[each.cell.place, each.split].append(each.cell.method)
    for (place, split), names in methods.items():
        if len(set(names)) > 1 or is_part:
            raise ConfigError(
                f"{one.facts.name} and {other.facts.name} hold the same trained models of "
                f"{listed(list(dict.fromkeys(names)))} ({place}) on {split}, which would count as "
                "if they were trained anew; leave out one of the studies, or in one of them what "
                "the other has too"
            )


def _students(part: Measured) -> list[Result]:
    return [result for result in part.results if not result.cell.is_teacher]


def _what(result: Result) -> tuple[str, str, Condition]:
    """What was measured: the model, the test and the condition."""
    return result.fingerprint, result.split, result.condition


def _check_axes(names: Sequence[str], parts: Sequence[StudyFacts]) -> None:
    """Refuse axes that have one name and are not of one thing."""
    seen: dict[str, tuple[str, object]] = {}
    for name, part in zip(names, parts, strict=True):
        for axis in part.axes:
            if axis == STUDIES:
                raise ConfigError(
                    f"{name}: has an axis called {STUDIES}, which is the axis of the studies in a "
                    "report of several; give it another name"
                )
            path = part.recipe["axes"][axis].get("path", "points")
            first, known = seen.setdefault(axis, (name, path))
            if known != path:
                raise ConfigError(
                    f"the axis {axis} is of {known} in {first} and of {path} in {name}; give them "
                    "different names"
                )


def _placed(part: Measured) -> Measured:
    """A study at its place on the axis of studies."""
    here: Point = ((STUDIES, part.facts.name),)

    def placed(cell: Cell) -> Cell:
        return replace(cell, point=(*here, *cell.point))

    facts = part.facts
    return replace(
        part,
        facts=replace(
            facts,
            scenarios={(*here, *point): each for point, each in facts.scenarios.items()},
            complexity={within(here, name): each for name, each in facts.complexity.items()},
            fingerprints={within(here, name): each for name, each in facts.fingerprints.items()},
            notes=[f"{facts.name}: {note}" for note in facts.notes],
            forms=[replace(form, cell=placed(form.cell)) for form in facts.forms],
        ),
        results=[replace(result, cell=placed(result.cell)) for result in part.results],
        curves={placed(cell): rows for cell, rows in part.curves.items()},
        gates=[replace(readings, cell=placed(readings.cell)) for readings in part.gates],
    )


def _facts(parts: Sequence[StudyFacts], names: Sequence[str]) -> StudyFacts:
    first = parts[0]
    notes = [note for part in parts for note in part.notes]
    return replace(
        first,
        name=" + ".join(names),
        recipe={name: part.recipe for name, part in zip(names, parts, strict=True)},
        corpus={name: part.corpus for name, part in zip(names, parts, strict=True)},
        fingerprints=_merged([part.fingerprints for part in parts]),
        bootstrap_samples=min(part.bootstrap_samples for part in parts),
        scenarios=_merged([part.scenarios for part in parts]),
        axes={STUDIES: None, **_merged([part.axes for part in parts])},
        notes=[*notes, *_different_methods(parts, names)],
        complexity=_merged([part.complexity for part in parts]),
        sharing=" ".join(filter(None, (part.sharing for part in parts))),
        forms=[form for part in parts for form in part.forms],
    )


def _different_methods(parts: Sequence[StudyFacts], names: Sequence[str]) -> list[str]:
    """Notes on methods that have one name in two studies and are not the same."""
    seen: dict[str, tuple[str, Any]] = {}
    notes = []
    for name, part in zip(names, parts, strict=True):
        for method, config in part.recipe.get("methods", {}).items():
            first, known = seen.setdefault(method, (name, config))
            if known != config:
                notes.append(
                    f"{method} is not the same in {first} and {name}: see the recipes; what is "
                    "said of it across studies is of two methods."
                )
    return notes


def _merged(parts: Sequence[Mapping[Any, Any]]) -> dict[Any, Any]:
    """All entries; of an axis of two studies the places of both."""
    merged: dict[Any, Any] = {}
    for part in parts:
        for key, value in part.items():
            both = isinstance(merged.get(key), Mapping) and isinstance(value, Mapping)
            merged[key] = {**merged[key], **value} if both else value
    return merged
