"""The search: which values of the recipe Ray Tune tries, and how it judges them."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from kdray.config.base import Frozen


class Choice(Frozen):
    """One of the listed values."""

    kind: Literal["choice"]
    values: tuple[Any, ...] = Field(min_length=1)


class Uniform(Frozen):
    """A number between `low` and `high`."""

    kind: Literal["uniform"]
    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        return self


class LogUniform(Uniform):
    """A number between `low` and `high`, spread evenly over its orders of magnitude."""

    kind: Literal["log_uniform"]  # type: ignore[assignment]
    low: float = Field(gt=0)


Dimension = Annotated[Choice | Uniform | LogUniform, Field(discriminator="kind")]


class SearchConfig(Frozen):
    """A search over the method named `method`; paths are dotted and start at the method.

    Every trial is a student of the first size and seed, judged on dev; test is not touched.
    """

    method: str
    space: dict[str, Dimension] = Field(min_length=1)
    trials: int = Field(default=8, ge=1)
    metric: Literal["dev/bleu", "dev/chrf", "dev/loss"] = "dev/bleu"
    algorithm: Literal["optuna", "random", "grid"] = "optuna"
    early_stopping: bool = True  # ASHA over validations
    seed: int = Field(default=1, ge=0, lt=2**32)  # the range of numpy's seeds
