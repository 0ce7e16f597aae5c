"""What is wrong with a configuration, in words: pydantic's errors as a person can use them."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from kdray.config.outside import kinds_of

MOST = 20  # faults that are told
_PLAIN = re.compile(r"bool|int|float|str|literal\[.*\]")  # pydantic's names of what a value may be


def faults(error: ValidationError, file: str, root: type[BaseModel]) -> Iterator[str]:
    """A line for each fault: the file, the place, the fault, its value or repair.

    `root` is the model that was to be read.
    """
    told = [f"{file}: {place}: {fault}" for place, fault in faults_by_place(error, root)]
    yield from told[:MOST]
    if len(told) > MOST:
        yield f"{file}: and {len(told) - MOST} faults more"


def faults_by_place(error: ValidationError, root: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """The place of each fault as a dotted key, and the fault in words with its value or repair."""
    errors = _joined(error.errors(include_url=False))
    for item in errors:
        if item["type"] == "too_short" and any(_is_inside(other, item) for other in errors):
            continue  # pydantic counts only valid entries, and an entry's own error is listed
        place, models = _follow(item["loc"], root)
        if item["type"] == "extra_forbidden":
            fault = f"no such key{_suggestion(item['loc'], root)}"
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
        yield place, fault


def _joined(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """One error for a value that may be of several plain types and is of none."""
    joined: dict[tuple[int | str, ...], ErrorDetails] = {}
    for item in errors:
        *outer, last = item["loc"] or ("",)
        loc = tuple(outer) if _PLAIN.fullmatch(str(last)) else item["loc"]
        if loc in joined and loc != item["loc"]:
            kind = re.sub("^Input should be (a valid )?", "", item["msg"])
            item = {**joined[loc], "msg": f"{joined[loc]['msg']} or {kind}"}
        joined[loc] = {**item, "loc": loc}
    return list(joined.values())


def _follow(loc: tuple[int | str, ...], root: type[BaseModel]) -> tuple[str, list[type[BaseModel]]]:
    """An error's place as a dotted key, without pydantic's union tags, and the models there."""
    parts: list[str] = []
    current: list[type[BaseModel]] = [root]
    is_entry = False  # next comes an index or a name from the user, which may look like a tag
    for item in loc:
        fields = _fields(current)
        if is_entry:
            parts.append(str(item))
            is_entry = False
        elif len(current) > 1 and any(_has_tag(candidate, item) for candidate in current):
            current = [candidate for candidate in current if _has_tag(candidate, item)]
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


def _suggestion(loc: tuple[int | str, ...], root: type[BaseModel]) -> str:
    _, models = _follow(loc[:-1], root)
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
