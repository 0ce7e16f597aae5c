"""A student's size: its shape, and where its initial weights come from.

`layers` and `prune` take them from the teacher. This file chooses the teacher's layers and checks
that the shapes allow it, without any weights.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kdray.config.base import Frozen
from kdray.config.model import ModelConfig

LayerNumbers = tuple[Annotated[int, Field(ge=0)], ...] | None
"""Layers of the teacher, counted from 0; null: evenly spaced."""


class RandomInitialConfig(Frozen):
    """Random weights, drawn from the student's seed."""

    kind: Literal["random"]


class _FromTeacherConfig(Frozen):
    """The field that initialisations from the teacher share: which layers are taken."""

    encoder: LayerNumbers = None
    decoder: LayerNumbers = None

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        for side in ("encoder", "decoder"):
            numbers = getattr(self, side) or ()
            if any(first >= second for first, second in pairwise(numbers)):
                raise ValueError(
                    f"{side} {list(numbers)} does not ascend; name each layer of the teacher once, "
                    "in its order"
                )
        return self


class LayersInitialConfig(_FromTeacherConfig):
    """Whole layers of the teacher (Shleifer & Rush 2020); the student keeps its widths."""

    kind: Literal["layers"]


class PruneInitialConfig(_FromTeacherConfig):
    """Layers of the teacher whose least important channels and units are removed."""

    kind: Literal["prune"]


InitialConfig = Annotated[
    RandomInitialConfig | LayersInitialConfig | PruneInitialConfig, Field(discriminator="kind")
]


class SizeConfig(ModelConfig):
    """A shape of students, and their initial weights."""

    initial: InitialConfig = RandomInitialConfig(kind="random")

    @property
    def shape(self) -> ModelConfig:
        """The shape alone."""
        return ModelConfig.model_validate(self.model_dump(exclude={"initial"}))

    @model_validator(mode="after")
    def _names_as_many_layers_as_it_has(self) -> Self:
        if isinstance(self.initial, RandomInitialConfig):
            return self
        for side in ("encoder", "decoder"):
            numbers, count = getattr(self.initial, side), getattr(self, f"{side}_layers")
            if numbers is not None and len(numbers) != count:
                raise ValueError(
                    f"initial.{side} names {len(numbers)} layers of the teacher, "
                    f"{list(numbers)}, and {side}_layers is {count}; make them agree"
                )
        return self


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of a teacher that a student starts from, counted from 0."""

    encoder: tuple[int, ...]
    decoder: tuple[int, ...]


def chosen_layers(size: SizeConfig, teacher: ModelConfig) -> Layers | None:
    """The layers of a teacher of this shape that a student starts from; None: it starts at random.

    Raises:
        ValueError: the teacher's weights cannot be cut down to the student's shape.
    """
    initial = size.initial
    if isinstance(initial, RandomInitialConfig):
        return None
    _check_shape(size, teacher, keeps_widths=isinstance(initial, LayersInitialConfig))
    for side in ("encoder", "decoder"):
        numbers, there = getattr(initial, side) or (0,), getattr(teacher, f"{side}_layers")
        if max(numbers) >= there:
            raise ValueError(
                f"initial.{side} names layer {max(numbers)}, and the teacher has {there} there, "
                f"0 to {there - 1}; name layers that it has"
            )
    return Layers(
        encoder=initial.encoder or evenly_spaced(size.encoder_layers, of=teacher.encoder_layers),
        decoder=initial.decoder or evenly_spaced(size.decoder_layers, of=teacher.decoder_layers),
    )


def evenly_spaced(count: int, *, of: int) -> tuple[int, ...]:
    """`count` of the numbers below `of`, from the first to the last; a single one is the first.

    Shleifer & Rush (2020) choose layers in this way.
    """
    gaps = max(count - 1, 1)
    return tuple((2 * place * (of - 1) + gaps) // (2 * gaps) for place in range(count))


def _check_shape(size: SizeConfig, teacher: ModelConfig, *, keeps_widths: bool) -> None:
    equal = ("heads", "width", "feedforward") if keeps_widths else ("heads",)
    smaller = ("width", "feedforward", "encoder_layers", "decoder_layers")
    wrong = []
    for name in dict.fromkeys((*equal, *smaller)):
        ours, theirs = getattr(size, name), getattr(teacher, name)
        if ours > theirs or (name in equal and ours != theirs):
            need = "it must have as many" if name in equal else "it cannot have more"
            wrong.append(f"{name} is {ours} and the teacher's {theirs}: {need}")
    if wrong:
        others = "prune or random" if keeps_widths else "random"
        raise ValueError(
            f"a student with initial {size.initial.kind} is cut from the teacher, but "
            f"{'; '.join(wrong)}; change its shape, or use initial {others}"
        )
