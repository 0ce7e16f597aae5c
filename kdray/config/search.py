"""The search: which students Ray Tune tries, how it chooses them, and how they are judged."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from kdray.config.base import Frozen, Name, Place
from kdray.config.dimensions import Choice, Dimension
from kdray.config.objectives import Metric, ObjectiveConfig, check_objectives

METHOD = "method"
"""The path of the choice between several methods."""


GivenObjective = Metric | ObjectiveConfig


def _several(given: object) -> object:
    return tuple(given) if isinstance(given, list | tuple) else (given,)


class RetrainConfig(Frozen):
    """The winner is trained anew, with seeds that no trial had, and scored on the tests once."""

    # None: those of the students but the trials', filled up with new ones to three
    seeds: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(default=None, min_length=1)
    beside: tuple[Name, ...] | None = None  # methods to compare with; None: all of the recipe

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if self.seeds is not None and len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} repeat a seed; give each once")
        return self


class EarlierConfig(Frozen):
    """A finished search, by its `search.json`: the sampler is told what its trials scored."""

    file: Place


class SearchConfig(Frozen):
    """A search over methods and their students; paths are dotted and start at the method.

    Those that start with `training` or `student` are of the students' training and shape. Every
    trial is a student of the first size and seed, judged on dev; test is not touched.
    """

    methods: Annotated[
        tuple[Name, ...],
        BeforeValidator(_several, json_schema_input_type=Name | tuple[Name, ...]),
        Field(min_length=1),
    ]
    space: dict[str, Dimension] = Field(min_length=1)
    # paths of choices for which signals of the teacher are made that no method of the recipe reads
    decode_for: tuple[str, ...] = ()
    objectives: Annotated[
        tuple[ObjectiveConfig, ...],
        BeforeValidator(
            _several, json_schema_input_type=GivenObjective | tuple[GivenObjective, ...]
        ),
        Field(min_length=1),
    ] = (ObjectiveConfig(metric="dev/bleu"),)
    trials: int = Field(default=8, ge=1)
    # of all trials together, after which no other one begins and those that go on are stopped
    target_tokens: int | None = Field(default=None, ge=1)
    train_hours: float | None = Field(default=None, gt=0)
    algorithm: Literal["tpe", "nsga2", "random", "grid"] = "tpe"
    stopping: Literal["asha", "median", "none"] = "asha"  # of bad trials, at validations
    starts: tuple[dict[str, Any], ...] = ()  # points, or parts of such, that are tried first
    earlier: EarlierConfig | None = None
    retrain: RetrainConfig | None = RetrainConfig()
    seed: int = Field(default=1, ge=0, lt=2**32)  # the range of numpy's seeds

    @property
    def dimensions(self) -> Mapping[str, Dimension]:
        """The space, with the choice of the method if there are several."""
        if len(self.methods) == 1:
            return self.space
        return {METHOD: Choice(kind="choice", values=self.methods), **self.space}

    @property
    def first(self) -> ObjectiveConfig:
        """The objective that ranks trials, and that stops bad ones."""
        return self.objectives[0]

    @model_validator(mode="after")
    def _names_methods_once(self) -> Self:
        if len(set(self.methods)) != len(self.methods):
            raise ValueError(f"methods {list(self.methods)} repeat a method; name each once")
        if METHOD in self.space:
            raise ValueError(
                f"space.{METHOD}: which method is chosen by `methods: [one, another]`, and "
                f"`when: {{{METHOD}: one}}` asks for one of them; leave it out of the space"
            )
        check_objectives(self.objectives)
        return self

    @model_validator(mode="after")
    def _conditions_can_be_met(self) -> Self:
        dimensions = self.dimensions
        for path, dimension in self.space.items():
            for other, wanted in dimension.when.items():
                self._check_condition(path, other, wanted)
        waits = {path: set(dimensions[path].when) for path in dimensions}
        while free := [path for path, others in waits.items() if not others]:
            waits = {path: each - set(free) for path, each in waits.items() if path not in free}
        if waits:
            raise ValueError(
                f"space: the conditions of {' and '.join(waits)} wait for one another; leave one "
                "of them out"
            )
        return self

    def _check_condition(self, path: str, other: str, wanted: tuple[Any, ...]) -> None:
        place, there = f"space.{path}.when", self.dimensions
        if other == METHOD and other not in there:
            raise ValueError(
                f"{place}: there is only the method {self.methods[0]}; leave the condition out, or "
                "name several `methods`"
            )
        if other not in there:
            raise ValueError(f"{place}: {other} is not in the space; there are {', '.join(there)}")
        dimension = there[other]
        if not isinstance(dimension, Choice):
            raise ValueError(
                f"{place}: {other} is of kind {dimension.kind}, and a condition asks for values of "
                "a choice"
            )
        for value in wanted:
            if not dimension.holds(value):
                raise ValueError(
                    f"{place}: {other} is never {value!r}; it is one of "
                    f"{', '.join(map(repr, dimension.values))}"
                )

    @model_validator(mode="after")
    def _names_what_is_there(self) -> Self:
        for path in self.decode_for:
            dimension = self.space.get(path)
            if dimension is None:
                raise ValueError(
                    f"decode_for: {path} is not in the space; there are {', '.join(self.space)}"
                )
            if dimension.every is None:
                raise ValueError(
                    f"decode_for: {path} is of kind {dimension.kind}, and signals can be made for "
                    "a number of values only; make it a choice"
                )
        for number, start in enumerate(self.starts, start=1):
            for path, value in start.items():
                self._check_start(f"starts, point {number}: {path}", path, value)
        if self.algorithm == "grid":
            self._check_grid()
        return self

    def _check_start(self, place: str, path: str, value: object) -> None:
        if path not in self.dimensions:
            raise ValueError(f"{place} is not in the space; there are {', '.join(self.dimensions)}")
        if not self.dimensions[path].holds(value):
            raise ValueError(f"{place}: {value!r} is not in its dimension; give one that is")

    def _check_grid(self) -> None:
        endless = [path for path, each in self.space.items() if each.every is None]
        if endless:
            raise ValueError(
                f"space.{endless[0]}: a grid takes choices, integers, and ranges with a step; give "
                "it one of these, or take another algorithm"
            )
        if self.starts or self.earlier is not None:
            raise ValueError(
                "a grid tries all of its points in their order; leave `starts` and `earlier` out, "
                "or take another algorithm"
            )
