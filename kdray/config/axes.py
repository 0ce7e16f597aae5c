"""Axes of a study: fields of the recipe that take several values, one after another."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from kdray.config.base import Frozen, Name

Scalar = bool | int | float | str | None
Settings = Mapping[str, Mapping[str, Any]]
"""Of each value of an axis, by its label: dotted keys of the recipe, and what they are set to."""


class FieldAxis(Frozen):
    """One field of the recipe, by its dotted path, and the values that it takes."""

    kind: Literal["field"] = "field"
    path: str = Field(pattern=r"^[\w-]+(\.[\w-]+)*$")
    values: tuple[Scalar, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        differ = {(isinstance(value, bool), value) for value in self.values}  # 0 is 0.0
        if not len(self.settings) == len(differ) == len(self.values):
            raise ValueError(f"values {list(self.values)} repeat a value; give each once")
        return self

    @property
    def settings(self) -> Settings:
        """What each value sets."""
        return {label_of(value): {self.path: value} for value in self.values}

    @property
    def numbers(self) -> dict[str, float] | None:
        """The values by their labels, if all are numbers, which have an order and a between."""
        known = [v for v in self.values if isinstance(v, int | float) and not isinstance(v, bool)]
        return {label_of(v): float(v) for v in known} if len(known) == len(self.values) else None


class PointsAxis(Frozen):
    """Named points, each of which sets several fields of the recipe: several corpora, say."""

    kind: Literal["points"] = "points"
    points: dict[Name, dict[str, Any]] = Field(min_length=1)

    @model_validator(mode="after")
    def _points_differ(self) -> Self:
        for name, settings in self.points.items():
            for dotted in settings:
                if outer := next((key for key in settings if dotted.startswith(f"{key}.")), None):
                    raise ValueError(
                        f"point {name}: {dotted} is a part of {outer}, which is set too; write "
                        "all of it there"
                    )
            if twin := next((k for k, v in self.points.items() if k != name and v == settings), ""):
                raise ValueError(f"points {name} and {twin} set the same; leave one out")
        return self

    @property
    def settings(self) -> Settings:
        """What each point sets."""
        return self.points

    @property
    def numbers(self) -> None:
        """Names have no order."""


def _kind(value: Any) -> str:  # noqa: ANN401 (what a user gave, or a model)
    return "points" if "points" in (value if isinstance(value, dict) else dir(value)) else "field"


Axis = Annotated[
    Annotated[FieldAxis, Tag("field")] | Annotated[PointsAxis, Tag("points")], Discriminator(_kind)
]


def label_of(value: Scalar) -> str:
    """A value as it stands in names."""
    text = str(value).lower() if value is None or isinstance(value, bool) else str(value)
    return re.sub(r"[^\w.+-]+", "-", text)
