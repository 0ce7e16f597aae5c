"""Dimensions of a search: what one field may be, and where it counts at all."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from kdray.config.base import Frozen

INSIDE = (math.sqrt(5) - 1) / 2  # of a range: a number that no field takes by accident
MOST_VALUES = 10_000  # of one dimension that a grid takes
DIGITS = 12  # that a number of steps is rounded to: 0.1 + 2·0.1 is 0.3


def _several(given: object) -> object:
    return tuple(given) if isinstance(given, list | tuple) else (given,)


Wanted = Annotated[
    tuple[Any, ...], BeforeValidator(_several, json_schema_input_type=Any), Field(min_length=1)
]


class BaseDimension(Frozen):
    """What all dimensions have: `when` names other choices, and the values they must have."""

    kind: str
    when: dict[str, Wanted] = Field(default_factory=dict)

    def counts(self, values: Mapping[str, Any]) -> bool:
        """Whether these other values let the dimension count."""
        return all(
            path in values and is_among(values[path], wanted) for path, wanted in self.when.items()
        )

    @property
    @abstractmethod
    def edges(self) -> tuple[Any, ...]:
        """What is planned before a search: all choices; ends of a range, and a number inside."""

    @property
    @abstractmethod
    def every(self) -> tuple[Any, ...] | None:
        """All values; None: there are too many for a grid."""

    @abstractmethod
    def holds(self, value: object) -> bool:
        """Whether a value lies in the dimension."""


class Choice(BaseDimension):
    """One of the listed values."""

    kind: Literal["choice"]
    values: tuple[Any, ...] = Field(min_length=1)

    @property
    def edges(self) -> tuple[Any, ...]:
        """All values."""
        return self.values

    @property
    def every(self) -> tuple[Any, ...]:
        """All values."""
        return self.values

    def holds(self, value: object) -> bool:
        """Whether it is listed."""
        return is_among(value, self.values)


class Uniform(BaseDimension):
    """A number from `low` to `high`; with a `step` only low, low + step and so on up to high."""

    kind: Literal["uniform"]
    low: float
    high: float
    step: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_range(self.low, self.high, self.step)
        return self

    @property
    def edges(self) -> tuple[float, ...]:
        """Both ends, and a number inside."""
        inside = self.low * (1 - INSIDE) + self.high * INSIDE
        if self.step is not None:
            inside = self.low + round((inside - self.low) / self.step) * self.step
        return tuple(dict.fromkeys((self.low, rounded(inside), self.high)))

    @property
    def every(self) -> tuple[float, ...] | None:
        """Those of the steps."""
        return None if self.step is None else _steps(self.low, self.high, self.step)

    def holds(self, value: object) -> bool:
        """Whether it is a number of the range, and of the steps if there are some."""
        return _is_number(value) and _in_range(float(value), self.low, self.high, self.step)  # type: ignore[arg-type]


class LogUniform(BaseDimension):
    """A number between `low` and `high`, spread evenly over its orders of magnitude."""

    kind: Literal["log_uniform"]
    low: float = Field(gt=0)
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_range(self.low, self.high, None)
        return self

    @property
    def edges(self) -> tuple[float, ...]:
        """Both ends, and a number inside."""
        return self.low, self.low ** (1 - INSIDE) * self.high**INSIDE, self.high

    @property
    def every(self) -> None:
        """There is no end of them."""

    def holds(self, value: object) -> bool:
        """Whether it is a number of the range."""
        return _is_number(value) and _in_range(float(value), self.low, self.high, None)  # type: ignore[arg-type]


class Integer(BaseDimension):
    """A whole number from `low` to `high`, both included, in steps."""

    kind: Literal["integer"]
    low: int
    high: int
    step: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_range(self.low, self.high, self.step)
        return self

    @property
    def edges(self) -> tuple[int, ...]:
        """Both ends, and one inside."""
        inside = self.low + round((self.high - self.low) * INSIDE / self.step) * self.step
        return tuple(dict.fromkeys((self.low, inside, self.high)))

    @property
    def every(self) -> tuple[int, ...] | None:
        """All of the steps."""
        every = range(self.low, self.high + 1, self.step)
        return tuple(every) if len(every) <= MOST_VALUES else None

    def holds(self, value: object) -> bool:
        """Whether it is one of the steps."""
        return (
            isinstance(value, int)
            and _is_number(value)
            and (self.low <= value <= self.high and (value - self.low) % self.step == 0)
        )


class LogInteger(BaseDimension):
    """A whole number between `low` and `high`, spread evenly over its orders of magnitude."""

    kind: Literal["log_integer"]
    low: int = Field(ge=1)
    high: int

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_range(self.low, self.high, None)
        return self

    @property
    def edges(self) -> tuple[int, ...]:
        """Both ends, and one inside."""
        inside = round(self.low ** (1 - INSIDE) * self.high**INSIDE)
        return tuple(dict.fromkeys((self.low, inside, self.high)))

    @property
    def every(self) -> tuple[int, ...] | None:
        """All of them."""
        every = range(self.low, self.high + 1)
        return tuple(every) if len(every) <= MOST_VALUES else None

    def holds(self, value: object) -> bool:
        """Whether it is a whole number of the range."""
        return isinstance(value, int) and _is_number(value) and self.low <= value <= self.high


Dimension = Annotated[
    Choice | Uniform | LogUniform | Integer | LogInteger, Field(discriminator="kind")
]


def rounded(value: float) -> float:
    """A number of steps without the last bits that adding them up leaves."""
    return float(f"{value:.{DIGITS}g}")


def is_among(value: object, values: tuple[Any, ...]) -> bool:
    """Whether a value is one of these; true is not 1."""
    return any(
        value == each and isinstance(value, bool) == isinstance(each, bool) for each in values
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_range(low: float, high: float, step: float | None) -> None:
    if not low < high:
        raise ValueError(f"low {low:g} must be below high {high:g}")
    if step is not None and not _in_range(high, low, high, step):
        last = rounded(low + math.floor((high - low) / step + 1e-9) * step)
        raise ValueError(
            f"steps of {step:g} from low {low:g} do not meet high {high:g}; the last one below it "
            f"is {last:g}"
        )


def _in_range(value: float, low: float, high: float, step: float | None) -> bool:
    if not low <= value <= high:
        return False
    steps = 0.0 if step is None else (value - low) / step
    return abs(steps - round(steps)) < 1e-6


def _steps(low: float, high: float, step: float) -> tuple[float, ...] | None:
    count = round((high - low) / step) + 1
    if count > MOST_VALUES:
        return None
    return tuple(rounded(low + number * step) for number in range(count))
