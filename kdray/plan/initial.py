"""Which students start from the teacher, from which of its layers, and whether they can."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdray.config.initial import RandomInitialConfig, TeacherLayers, chosen_layers
from kdray.config.recipe import Recipe
from kdray.config.teacher import TrainedTeacherConfig
from kdray.errors import ConfigError
from kdray.model import inherit
from kdray.model.storage import load_shape
from kdray.plan.vocabulary import check_embeddings


@dataclass(frozen=True, slots=True)
class Inheritance:
    """The layers that a student starts from, and the fingerprint of the teacher they are of."""

    layers: TeacherLayers
    teacher: str

    def recipe(self) -> dict[str, Any]:
        """What a student's fingerprint holds of it, beside the teacher's."""
        layers = {"encoder": list(self.layers.encoder), "decoder": list(self.layers.decoder)}
        return {**layers, "version": inherit.VERSION}


def plan_inheritance(
    recipe: Recipe, *, brought: tuple[Path, ...], fingerprints: tuple[str, ...]
) -> Mapping[str, Inheritance]:
    """What students of each size start from, for sizes that do not start at random.

    Raises:
        ConfigError: the brought teacher cannot be cut down to a student, or its embeddings are
            not those of its tokenizer.
        DataError: its folder holds no model.
    """
    sizes = recipe.students.sizes.items()
    inheriting = {n: s for n, s in sizes if not isinstance(s.initial, RandomInitialConfig)}
    if not inheriting:
        return {}
    if isinstance(recipe.teacher, TrainedTeacherConfig):
        teacher = recipe.teacher.model
    else:
        check_embeddings(brought[0])
        teacher = load_shape(brought[0]).config
    found = {}
    for name, size in inheriting.items():
        try:
            layers = chosen_layers(size, teacher)
        except ValueError as error:
            raise ConfigError(f"recipe.students.sizes.{name}: {error}") from None
        assert layers is not None, "it does not start at random"
        found[name] = Inheritance(layers, fingerprints[0])
    return found
