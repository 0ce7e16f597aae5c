"""From the configuration of a teacher to the teacher that jobs carry."""

from kdray.artifacts import Source
from kdray.config.outside import outside_kinds
from kdray.config.teacher import EnsembleTeacherConfig, OutsideTeacherConfig, TeacherConfig
from kdray.errors import ConfigError
from kdray.teacher.engine import Teacher
from kdray.teacher.own import OwnModels

FACTORIES = "kdray.teacher"
"""Entry points: for each kind a function from its configuration to the teacher."""


def build_teacher(config: TeacherConfig, members: tuple[Source, ...]) -> Teacher:
    """The teacher that a configuration describes; `members` are kdray's own models, if it has any.

    Raises:
        ConfigError: nobody makes a teacher of a kind from outside the package.
    """
    if not isinstance(config, OutsideTeacherConfig):
        weights = config.weights if isinstance(config, EnsembleTeacherConfig) else "uniform"
        return OwnModels(members, weights)
    factories = outside_kinds(FACTORIES)
    if config.kind not in factories:
        raise ConfigError(
            f"recipe.teacher.kind {config.kind}: the package with its configuration names no "
            f"teacher of this kind under the entry points {FACTORIES}, or it cannot be loaded; "
            f"there are {', '.join(factories) or 'none'}"
        )
    teacher: Teacher = factories[config.kind](config)
    return teacher
