"""The base class of all configuration models, and field types that several of them share."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


class Frozen(BaseModel):
    """Immutable; an unknown key is an error; NaN, infinity, and truth as a number are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )

    @model_validator(mode="before")
    @classmethod
    def _truth_is_no_number(cls, data: Any) -> Any:  # noqa: ANN401 (whatever was given)
        """Pydantic would take `true` for 1."""
        for name, value in data.items() if isinstance(data, dict) else ():
            parts = value if isinstance(value, list | tuple) else (value,)
            if name in cls.model_fields and any(isinstance(part, bool) for part in parts):
                kinds = _kinds(cls.model_fields[name].annotation)
                if (int in kinds or float in kinds) and bool not in kinds and Any not in kinds:
                    raise ValueError(f"{name} is {str(value).lower()}, and must be a number")
        return data


def _kinds(annotation: Any) -> list[Any]:  # noqa: ANN401 (a type expression)
    """The plain types in a type expression."""
    inner = get_args(annotation)
    return [annotation] if not inner else [kind for each in inner for kind in _kinds(each)]


def is_url(place: str) -> bool:
    """Whether a place is named by a URL, as `s3://bucket/corpus`, and not by a path."""
    return re.match(r"[a-z][a-z0-9+.-]*://", place) is not None


def _inside_folder(name: str) -> str:
    if "**" in name:
        raise ValueError("** is no pattern here: * stands for a part of one name; write */*")
    if is_url(name):
        return name
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(
            f"{name!r} must be a relative path inside the corpus folder; "
            "put the folder itself into `folder`"
        )
    return name


def _not_empty(place: str) -> str:
    if not place.strip():
        raise ValueError("an empty name would be the current folder; write . for that")
    return place


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]
"""A name that is safe for a folder, an MLflow run and a row of a table."""

Place = Annotated[str, AfterValidator(_not_empty)]
"""A path or URI."""

FileInFolder = Annotated[str, AfterValidator(_inside_folder)]
"""A relative path that cannot leave the folder of its corpus, or a URL; `*` may stand in it."""

Fraction = Annotated[float, Field(ge=0, le=1)]

LabelSmoothing = Annotated[float, Field(ge=0, lt=1)]
"""Probability spread over the vocabulary in the cross-entropy on references, not in KL terms."""
