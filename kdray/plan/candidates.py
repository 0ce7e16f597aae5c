"""The students of a search: what the recipe would be with the values of a point of its space."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from kdray.cell import Cell
from kdray.config.faults import faults_by_place
from kdray.config.methods.union import MethodConfig
from kdray.config.model import SHAPE
from kdray.config.recipe import Recipe
from kdray.config.search import METHOD, SearchConfig
from kdray.config.space import Values, decoded_points
from kdray.errors import ConfigError
from kdray.plan.counts import Counts
from kdray.plan.initial import plan_starts
from kdray.plan.scenario import Scenario
from kdray.plan.step import TRIAL, Step
from kdray.plan.students import Students
from kdray.teacher.engine import Teacher

TRAINING, STUDENT = "training", "student"
"""Paths that start with these are of the students' training and shape; others of the method."""
_REPLACED = {"preset": SHAPE}
"""What a field decides, unless it is set beside it. A `kind` decides all beside it."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Plans the student of each point of a search, from the signals that the plan has."""

    config: SearchConfig
    students: Students  # of the recipe
    teacher: Teacher | None

    @classmethod
    def of(cls, config: SearchConfig, scenario: Scenario) -> "Candidates":
        """Those of a scenario."""
        return cls(config, scenario.students, scenario.teacher)

    def method(self, values: Values) -> str:
        """The method that a point chooses."""
        return str(values.get(METHOD, self.config.methods[0]))

    def recipe(self, values: Values) -> Recipe:
        """The recipe with these values.

        Raises:
            ConfigError: it has no such place, or they are none that it can have.
        """
        return changed(self.students.recipe, self.method(values), values)

    def step(self, values: Values) -> Step:
        """The student of these values: first size, first seed.

        Raises:
            ConfigError: it cannot be trained, or reads signals that are not planned.
        """
        students, cell = self._students(values), self.cell(values)
        spec = students.spec(cell, students.recipe.methods[cell.method])
        step = students.step(cell, spec, name=f"trial-{spec.key.fingerprint[:8]}", heading="")
        return replace(step, stage=TRIAL)

    def cell(self, values: Values) -> Cell:
        """Where a trial would stand in the study."""
        students = self.students.recipe.students
        return Cell(self.method(values), next(iter(students.sizes)), students.seeds[0])

    def _students(self, values: Values) -> Students:
        recipe = self.recipe(values)
        counts = Counts(recipe, self.students.counts.table)
        starts = plan_starts(recipe, self.teacher)
        return replace(self.students, recipe=recipe, starts=starts, counts=counts)


def changed(recipe: Recipe, method: str, values: Values, *, name: str = "") -> Recipe:
    """A recipe with the values of a point; `name`: the method that they make, beside the others.

    Raises:
        ConfigError: it has no such place, or the values are none that it can have; the path is
            named, if it is one.
    """
    data = recipe.model_dump(mode="json")
    target = name or method
    data["methods"][target] = copy.deepcopy(data["methods"][method])
    size = next(iter(recipe.students.sizes))
    places = {path: _place(path, target, size) for path in values if path != METHOD}
    waiting = [
        path
        for path in sorted(places, key=_outer_first)
        if not _put(data, places, path, values, may_add=False)
    ]
    whole = _checked(data, places, values)
    if not waiting:
        return whole
    data = whole.model_dump(mode="json")  # with the parts that another kind has by default
    for path in waiting:
        _put(data, places, path, values, may_add=True)
    return _checked(data, places, values)


def decoded_methods(recipe: Recipe, config: SearchConfig | None) -> Sequence[MethodConfig]:
    """Methods whose signals are made for a search alone, since it asks for that by name.

    Raises:
        ConfigError: values are none that the method can have.
    """
    if config is None:
        return ()
    names = [(str(each.get(METHOD, config.methods[0])), each) for each in decoded_points(config)]
    return [changed(recipe, name, values).methods[name] for name, values in names]


def _place(path: str, method: str, size: str) -> tuple[str, ...]:
    """Where in the recipe a path leads; names of methods and sizes may have dots in them."""
    first, *inner = path.split(".")
    if first == TRAINING:
        return ("students", "training", *inner)
    if first == STUDENT:
        return ("students", "sizes", size, *inner)
    return ("methods", method, first, *inner)


def _outer_first(path: str) -> tuple[int, bool]:
    """An order in which nothing is lost: what replaces its neighbours is set before them."""
    *outer, last = path.split(".")
    return len(outer), last not in ("kind", *_REPLACED)


def _put(
    data: dict[str, Any],
    places: Mapping[str, Sequence[str]],
    path: str,
    values: Values,
    *,
    may_add: bool,
) -> bool:
    """Set the value of a path. -> False: it leads into a part that is not there, as yet."""
    *outer, last = places[path]
    here: Any = data
    for key in outer:
        if key not in here and not may_add:
            return False
        inner = here.setdefault(key, {})
        if inner is None:
            inner = here[key] = {}
        if not isinstance(inner, dict):
            raise ConfigError(
                f"search.space.{path}: {key!r} holds {inner!r}, which has no keys of its own"
            )
        here = inner
    value = values[path]
    if last == "kind" and here.get("kind") != value:
        here.clear()  # the fields of another kind
    for other in _REPLACED.get(last, ()):
        here.pop(other, None)
    here[last] = copy.deepcopy(value)
    return True


def _checked(data: dict[str, Any], places: Mapping[str, Sequence[str]], values: Values) -> Recipe:
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        place, fault = next(iter(faults_by_place(error, Recipe)))
        whole = "; take kind integer" if "fractional part" in fault else ""
        raise ConfigError(f"{_guilty(places, place, values)}: {place}: {fault}{whole}") from None


def _guilty(places: Mapping[str, Sequence[str]], fault: str, values: Values) -> str:
    """The path of the space that a fault of the recipe comes from; all values if it is unclear."""

    def is_in(inner: str, outer: str) -> bool:
        return f"{inner}.".startswith(f"{outer}.")

    told = {path: ".".join(place) for path, place in places.items()}
    guilty = [path for path, place in told.items() if is_in(place, fault) or is_in(fault, place)]
    # A field that is missing in a whole part may be the fault of any value in it.
    exact = [path for path in guilty if told[path] == fault]
    if len(exact or guilty) == 1:
        return f"search.space.{(exact or guilty)[0]}"
    return f"search.space: {dict(values)}"
