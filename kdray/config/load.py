"""From a YAML file and `--set` overrides to an `Experiment`, with errors a user can act on."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from kdray.config.experiment import Experiment
from kdray.errors import ConfigError


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read a configuration file and apply overrides such as `recipe.students.seeds=[1,2]`.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or does not describe an experiment.
    """
    data = read_yaml(path)
    for override in overrides:
        apply_override(data, override)
    try:
        return Experiment.model_validate(data)
    except ValidationError as error:
        raise ConfigError(describe(error, path, Experiment)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; duplicate keys are refused."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path of a YAML experiment") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    try:
        data = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: found {type(data).__name__}, an experiment is a mapping of keys"
        )
    return data


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a mapping that names a key twice, which YAML would silently resolve."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def apply_override(data: dict[str, Any], override: str) -> None:
    """Set one dotted key in place; the value is read as YAML."""
    dotted, equals, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {override}: expected KEY=VALUE with a dotted key, as in a.b=c")
    try:
        value = yaml.safe_load(text)
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


def describe(error: ValidationError, source: Path | str, model: type[BaseModel]) -> str:
    """Turn pydantic's errors into one message: place, what was found, the repair."""
    lines = []
    for item in error.errors(include_url=False):
        place = _place(item["loc"], model)
        if item["type"] == "extra_forbidden":
            lines.append(f"{place}: no such key{_suggestion(item['loc'], model)}")
        elif item["type"] == "missing":
            lines.append(f"{place}: missing; add it")
        else:
            message = item["msg"].removeprefix("Value error, ")
            found = item.get("input")
            shown = "" if isinstance(found, Mapping | BaseModel) else f" (found {found!r})"
            lines.append(f"{place}: {message[0].lower()}{message[1:]}{shown}")
    return "\n".join(f"{source}: {line}" for line in lines)


def _place(loc: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """The dotted key without the union tags that pydantic puts between."""
    parts: list[str] = []
    current: list[type[BaseModel]] = [model]
    for item in loc:
        fields = _fields(current)
        if isinstance(item, str) and item in fields:
            parts.append(item)
            current = _models(fields[item])
        elif any(_has_tag(candidate, item) for candidate in current):
            current = [candidate for candidate in current if _has_tag(candidate, item)]
        else:
            parts.append(str(item))
    return ".".join(parts) or "the file"


def _suggestion(loc: tuple[int | str, ...], model: type[BaseModel]) -> str:
    current: list[type[BaseModel]] = [model]
    for item in loc[:-1]:
        fields = _fields(current)
        if isinstance(item, str) and item in fields:
            current = _models(fields[item])
        elif any(_has_tag(candidate, item) for candidate in current):
            current = [candidate for candidate in current if _has_tag(candidate, item)]
    names = sorted(_fields(current))
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
    """The configuration models that an annotation may hold, through unions and dict values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, UnionType, dict, list, tuple):
        return [model for inner in get_args(annotation) for model in _models(inner)]
    return []
