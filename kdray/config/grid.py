"""The grid of a study: one recipe for each combination of the values of its axes."""

import copy
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from kdray.cell import Point, shown
from kdray.config.axes import Axis, FieldAxis
from kdray.config.dotted import get_dotted, set_dotted
from kdray.config.faults import faults_by_place
from kdray.config.recipe import Recipe
from kdray.errors import ConfigError

OF_THE_GRID = (
    *("axes", "grid", "baseline", "students.seeds"),
    *("evaluation.beams", "evaluation.bootstrap_samples", "evaluation.scorers"),
)
"""What all points have in common."""


def points_of(recipe: Recipe) -> dict[Point, Recipe]:
    """The recipe of each point, without axes, in the order of the report.

    Raises:
        ConfigError: an axis sets what the recipe does not have or what another axis sets, or a
            point is no recipe.
    """
    if not recipe.axes:
        return {(): recipe}
    _check_paths(recipe)
    return {point: _at(recipe, point) for point in _points(recipe.axes, recipe.grid)}


def _points(axes: Mapping[str, Axis], grid: str) -> Iterator[Point]:
    every = [[(name, label) for label in axis.settings] for name, axis in axes.items()]
    if grid == "full":
        yield from itertools.product(*every)
        return
    first = tuple(labels[0] for labels in every)
    yield first
    for place, labels in enumerate(every):
        for other in labels[1:]:
            yield (*first[:place], other, *first[place + 1 :])


def _at(recipe: Recipe, point: Point) -> Recipe:
    """The recipe at a point, as if a user had written it."""
    data = _plain(recipe.given)
    data.pop("axes", None)
    data.pop("grid", None)
    for name, label in point:
        for dotted, value in recipe.axes[name].settings[label].items():
            try:
                set_dotted(data, dotted, copy.deepcopy(value))
            except ValueError as error:
                raise ConfigError(f"recipe.axes.{name}, {label}: {dotted}: {error}") from None
    try:
        there = Recipe.model_validate(data)
    except ValidationError as error:
        lines = [
            f"{_guilty(recipe, point, place)}: {place}: {fault}"
            for place, fault in faults_by_place(error, Recipe)
        ]
        raise ConfigError("\n".join(lines)) from None
    _check_text(recipe, point, there)
    return there


def _guilty(recipe: Recipe, point: Point, place: str) -> str:
    """The axis that sets a place, and its value; the whole point if it is none or several."""
    guilty = [
        f"recipe.axes.{name}: {label}"
        for name, label in point
        if any(_is_in(place, d) or _is_in(d, place) for d in recipe.axes[name].settings[label])
    ]
    return guilty[0] if len(guilty) == 1 else f"recipe.axes, at {shown(point)}"


def _check_text(recipe: Recipe, point: Point, there: Recipe) -> None:
    """Refuse text that the recipe reads as a number: the values of the axis would have no order."""
    for name, label in point:
        axis = recipe.axes[name]
        value = axis.settings[label][axis.path] if isinstance(axis, FieldAxis) else None
        if isinstance(axis, FieldAxis) and isinstance(value, str):
            read = get_dotted(there.model_dump(mode="json"), axis.path)
            if isinstance(read, int | float) and not isinstance(read, bool):
                raise ConfigError(
                    f"recipe.axes.{name}: {value!r} is text, and {axis.path} is a number; write it "
                    "without quotes"
                )


def _check_paths(recipe: Recipe) -> None:
    """Raise ConfigError when an axis sets what is not there, or what another one sets too."""
    there = recipe.model_dump(mode="json")
    by_path: dict[str, str] = {}
    for name, axis in recipe.axes.items():
        place = f"recipe.axes.{name}"
        for dotted in dict.fromkeys(key for keys in axis.settings.values() for key in keys):
            _check_path(there, dotted, place=place)
            for other, owner in by_path.items():
                if owner != name and (_is_in(dotted, other) or _is_in(other, dotted)):
                    raise ConfigError(
                        f"{place}: sets {dotted}, and the axis {owner} sets {other}; one field "
                        "can be on one axis only"
                    )
            by_path.setdefault(dotted, name)


def _check_path(there: Mapping[str, Any], dotted: str, *, place: str) -> None:
    if any(_is_in(dotted, common) for common in OF_THE_GRID):
        raise ConfigError(f"{place}: {dotted} is the same at all points; take another field")
    if inner := next((common for common in OF_THE_GRID if _is_in(common, dotted)), None):
        raise ConfigError(
            f"{place}: {dotted} holds {inner}, which is the same at all points; set the other "
            f"fields of {dotted} one by one"
        )
    here: Any = there
    for key in dotted.split("."):
        if here is None:  # a part that the recipe leaves out: its own check follows
            return
        if not isinstance(here, dict) or key not in here:
            known = ", ".join(here) if isinstance(here, dict) else "none"
            raise ConfigError(f"{place}: {dotted}: no such field; at that place there are {known}")
        here = here[key]


def _is_in(dotted: str, outer: str) -> bool:
    return f"{dotted}.".startswith(f"{outer}.")


def _plain(value: Any) -> Any:  # noqa: ANN401 (nested mappings, lists, and models in them)
    """A copy without models, of which only what was given is taken."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
