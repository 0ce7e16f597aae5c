"""Which students start from the teacher, from which of its layers, and whether they can."""

from collections.abc import Mapping

from kdray.artifacts import Brought
from kdray.config.initial import RandomInitialConfig, chosen_layers
from kdray.config.recipe import Recipe
from kdray.config.teacher import TrainedTeacherConfig
from kdray.errors import ConfigError
from kdray.fit.spec import Random, TeacherLayers
from kdray.model.storage import load_shape
from kdray.plan.vocabulary import check_embeddings
from kdray.teacher.engine import Teacher


def plan_starts(recipe: Recipe, teacher: Teacher | None) -> Mapping[str, Random | TeacherLayers]:
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
        assert teacher is not None, "the config was checked for this"
        if isinstance(recipe.teacher, TrainedTeacherConfig):
            shape = recipe.teacher.model
        else:
            (source,) = teacher.sources
            assert isinstance(source, Brought), "it is trained or brought"
            check_embeddings(source.path)
            shape = load_shape(source.path).config
        try:
            layers = chosen_layers(size, shape)
        except ValueError as error:
            raise ConfigError(f"recipe.students.sizes.{name}: {error}") from None
        assert layers is not None, "it does not start at random"
        starts[name] = TeacherLayers(teacher, layers)
    return starts
