"""Which students start from the teacher, from which of its layers, and whether they can."""

from collections.abc import Mapping

from kdray.artifacts import Brought, Source
from kdray.config.initial import RandomInitialConfig, chosen_layers
from kdray.config.recipe import Recipe
from kdray.config.teacher import TrainedTeacherConfig
from kdray.errors import ConfigError
from kdray.fit.spec import Random, TeacherLayers
from kdray.model.storage import load_shape
from kdray.plan.vocabulary import check_embeddings


def plan_starts(
    recipe: Recipe, teachers: tuple[Source, ...]
) -> Mapping[str, Random | TeacherLayers]:
    """Where students of each size start.

    Raises:
        ConfigError: the brought teacher cannot be cut down to a student, or its embeddings are
            not those of its tokenizer.
        DataError: its folder holds no model.
    """
    starts: dict[str, Random | TeacherLayers] = {}
    for name, size in recipe.students.sizes.items():
        if isinstance(size.initial, RandomInitialConfig):
            starts[name] = Random()
            continue
        teacher = teachers[0]
        if isinstance(recipe.teacher, TrainedTeacherConfig):
            shape = recipe.teacher.model
        else:
            assert isinstance(teacher, Brought), "it is trained or brought"
            check_embeddings(teacher.path)
            shape = load_shape(teacher.path).config
        try:
            layers = chosen_layers(size, shape)
        except ValueError as error:
            raise ConfigError(f"recipe.students.sizes.{name}: {error}") from None
        assert layers is not None, "it does not start at random"
        starts[name] = TeacherLayers(teacher, layers)
    return starts
