"""Kinds from outside the package: what installed packages add to its closed unions.

A package names them as entry points. A group is called after the place where a built-in kind stands
(`kdray.config.methods` for a method's configuration, `kdray.methods` for its loss, and so on), and
an entry after the kind.
"""

import json
from collections import Counter
from collections.abc import Collection
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, Union, get_args

from pydantic import BaseModel, Field, TypeAdapter

from kdray.config.base import Frozen

failures: list[str] = []
"""Why entry points could not be used. Whoever loads an experiment is told of them."""


@cache
def outside_kinds(group: str) -> dict[str, Any]:
    """What packages add under a group, by kind. What cannot be used goes to `failures`."""
    kinds: dict[str, Any] = {}
    entries = {(entry.name, entry.value): entry for entry in entry_points(group=group)}
    times = Counter(name for name, _ in entries)
    for _, entry in sorted(entries.items()):
        if times[entry.name] > 1:  # nodes may see them in other orders, so none of them will do
            failures.append(f"{_place(entry)}: the kind {entry.name!r} is there twice; remove one")
            continue
        try:
            kinds[entry.name] = entry.load()
        except (Exception, SystemExit) as error:  # it is somebody else's: anything may happen
            failures.append(f"{_place(entry)}: cannot be loaded: {type(error).__name__}: {error}")
    return kinds


def with_outside(
    union: Any,  # noqa: ANN401 (type expressions)
    group: str,
    *,
    base: type[Frozen] = Frozen,
    beside: str = "",
    taken: Collection[str] = (),
) -> Any:  # noqa: ANN401
    """A union of configuration models by their kind, completed by those of installed packages.

    They must be of a base. A kind must have an entry in the group `beside` as well, where what it
    configures is named, and must be none of those that are taken.
    """
    models = list(get_args(union) or (union,))
    own = {kind for model in models for kind in kinds_of(model)} | set(taken)
    others = entry_points(group=beside).names if beside else set()
    for name, model in outside_kinds(group).items():
        if not (isinstance(model, type) and issubclass(model, base) and kinds_of(model) == (name,)):
            place = f"{base.__module__}.{base.__name__}"
            failures.append(f"{group}: {name} is not a {place} with kind: Literal[{name!r}] alone")
        elif name in own:
            failures.append(f"{group}: kdray has a kind {name!r} of its own; choose another name")
        elif beside and name not in others:
            failures.append(f"{group}: {name} has no entry in the group {beside}; add it there")
        elif problem := _unusable(model, models[0]):
            failures.append(f"{group}: {name} {problem}")
        else:
            models.append(model)
    for name in sorted(others - entry_points(group=group).names):
        failures.append(f"{beside}: {name} has no entry in the group {group}; add it there")
    completed: Any = Union[tuple(models)]  # noqa: UP007 (made while the program runs)
    # pydantic takes a discriminator only where there is a choice
    return Annotated[completed, Field(discriminator="kind")] if len(models) > 1 else completed


def kinds_of(model: type[BaseModel]) -> tuple[str, ...]:
    """The kinds that a configuration model stands for."""
    field = model.model_fields.get("kind")
    return () if field is None else get_args(field.annotation)


def _unusable(model: type[BaseModel], other: type[BaseModel]) -> str:
    """What is wrong with a model that would spoil its union, or fingerprints; "" if nothing is."""
    try:
        pair: Any = Union[other, model]  # noqa: UP007 (made while the program runs)
        TypeAdapter(Annotated[pair, Field(discriminator="kind")])
        model.model_rebuild()
        schema = json.dumps(model.model_json_schema(mode="serialization"))
    except Exception as error:  # it is somebody else's: anything may happen
        told = str(error).split("\n")[0]
        return f"is no model that can be read and written: {type(error).__name__}: {told}"
    for field, info in model.model_fields.items():
        if hasattr(model, field):
            return f"has a field {field}, which is the name of a method; choose another name"
        if info.exclude:
            return f"excludes its field {field}, which fingerprints then lack; do not exclude it"
    if '"uniqueItems": true' in schema:
        return "has a set, whose order differs from process to process; take a tuple"
    return ""


def _place(entry: EntryPoint) -> str:
    package = "" if entry.dist is None else f" of {entry.dist.name}"
    return f"entry point {entry.group}:{entry.name}{package} ({entry.value})"
