"""Reads a YAML file and `--set` overrides into an `Experiment`, and explains what is wrong."""

import difflib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from kdray.config.experiment import Experiment
from kdray.config.outside import failures, kinds_of
from kdray.config.plain_yaml import parse
from kdray.errors import ConfigError

log = logging.getLogger(__name__)


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read a configuration file and apply overrides such as `recipe.students.seeds=[1,2]`.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or does not describe an experiment.
    """
    data = read_yaml(path)
    for override in overrides:
        apply_override(data, override)
    try:
        experiment = Experiment.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join((*_faults(error, path), *failures))) from None
    for failure in failures:
        log.warning(failure)
    return experiment


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; duplicate keys are refused."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); give the path of a YAML experiment"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 (byte {error.object[error.start]:#04x} at {error.start}); "
            "save it as UTF-8"
        ) from None
    try:
        data = parse(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        content = "nothing" if data is None else type(data).__name__
        raise ConfigError(
            f"{path}: found {content}, an experiment is a mapping of keys; start with `name:` and "
            "`recipe:`"
        )
    return data


def apply_override(data: dict[str, Any], override: str) -> None:
    """Set one dotted key in place; the value is read as YAML."""
    dotted, equals, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {override}: expected KEY=VALUE with a dotted key, as in a.b=c")
    try:
        value = parse(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML: {error}") from None
    here = data
    for key in keys[:-1]:
        inner = here.setdefault(key, {})
        if inner is None:
            inner = here[key] = {}
        if not isinstance(inner, dict):
            raise ConfigError(
                f"--set {override}: {key!r} holds {inner!r}, which has no keys of its own"
            )
        here = inner
    here[keys[-1]] = value


def _faults(error: ValidationError, path: Path) -> Iterator[str]:
    """A line for each of pydantic's errors: the file, the place, the fault, its value or repair."""
    errors = error.errors(include_url=False)
    for item in errors:
        if item["type"] == "too_short" and any(_is_inside(other, item) for other in errors):
            continue  # pydantic counts only valid entries, and an entry's own error is listed
        place, models = _follow(item["loc"])
        if item["type"] == "extra_forbidden":
            fault = f"no such key{_suggestion(item['loc'])}"
        elif item["type"] == "union_tag_not_found":
            kinds = (kind for model in models for kind in kinds_of(model))
            fault = f"`kind` is missing; there are {', '.join(kinds)}"
        elif item["type"] == "missing":
            fault = "missing; add it"
        else:
            message = item["msg"].removeprefix("Value error, ")
            value = item.get("input")
            shown = "" if isinstance(value, Mapping | BaseModel) else f" (found {value!r})"
            fault = f"{message[0].lower()}{message[1:]}{shown}"
        yield f"{path}: {place}: {fault}"


def _follow(loc: tuple[int | str, ...]) -> tuple[str, list[type[BaseModel]]]:
    """An error's place as a dotted key, without pydantic's union tags, and the models there."""
    parts: list[str] = []
    current: list[type[BaseModel]] = [Experiment]
    is_entry = False  # next comes an index or a name from the user, which may look like a tag
    for item in loc:
        fields = _fields(current)
        if is_entry:
            parts.append(str(item))
            is_entry = False
        elif isinstance(item, str) and item in fields:
            parts.append(item)
            current = _models(fields[item])
            is_entry = get_origin(fields[item]) in (dict, list, tuple)
        elif any(_has_tag(candidate, item) for candidate in current):
            current = [candidate for candidate in current if _has_tag(candidate, item)]
        elif item != "[key]":  # with this, pydantic marks that the name of an entry is wrong
            parts.append(str(item))
    return ".".join(parts) or "the file", current


def _is_inside(inner: ErrorDetails, outer: ErrorDetails) -> bool:
    depth = len(outer["loc"])
    return len(inner["loc"]) > depth and inner["loc"][:depth] == outer["loc"]


def _suggestion(loc: tuple[int | str, ...]) -> str:
    _, models = _follow(loc[:-1])
    names = sorted(_fields(models))
    close = difflib.get_close_matches(str(loc[-1]), names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(names)}" if names else "; remove it"


def _fields(models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    return {name: field.annotation for m in models for name, field in m.model_fields.items()}


def _has_tag(model: type[BaseModel], tag: object) -> bool:
    return any(
        name in ("kind", "format") and tag in get_args(field.annotation)
        for name, field in model.model_fields.items()
    )


def _models(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401 (a type expression)
    """The configuration models in an annotation, also inside unions and collections."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, UnionType, dict, list, tuple):
        return [model for inner in get_args(annotation) for model in _models(inner)]
    return []
