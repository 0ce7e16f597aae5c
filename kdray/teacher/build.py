"""From the configuration of a teacher to the teacher that jobs carry."""

from kdray.artifacts import Source
from kdray.config.foreign_teachers import (
    CommandTeacherConfig,
    CTranslate2TeacherConfig,
    FunctionTeacherConfig,
    HuggingFaceTeacherConfig,
    MarianTeacherConfig,
    OutsideTeacherConfig,
)
from kdray.config.outside import failures, outside_kinds
from kdray.config.teacher import EnsembleTeacherConfig, TeacherConfig
from kdray.errors import ConfigError, KdrayError
from kdray.teacher.converted import ConvertedTeacher
from kdray.teacher.engine import Teacher
from kdray.teacher.huggingface.folder import Origin
from kdray.teacher.huggingface.teacher import HuggingFaceTeacher, SharedHuggingFaceTeacher
from kdray.teacher.lines import CommandTeacher, FunctionTeacher
from kdray.teacher.marian import MarianTeacher
from kdray.teacher.outside import OutsideTeacher
from kdray.teacher.own import OwnModels

FACTORIES = "kdray.teacher"
"""Entry points: for each kind a function from its configuration to the teacher."""


def build_teacher(
    config: TeacherConfig, members: tuple[Source, ...], *, shared: bool = False
) -> Teacher:
    """The teacher that a configuration describes.

    Args:
        config: the description.
        members: kdray's own models, if it has any; of a model that is converted the conversion.
        shared: whether students share its vocabulary.

    Raises:
        ConfigError: nobody makes a teacher of a kind from outside the package, or a command or a
            function is not there.
        DataError: a file of it is missing or damaged.
    """
    match config:
        case OutsideTeacherConfig():
            return _outside(config)
        case CTranslate2TeacherConfig():
            return ConvertedTeacher.of(config)
        case CommandTeacherConfig():
            command = CommandTeacher(config)
            command.check()
            return command
        case FunctionTeacherConfig():
            function = FunctionTeacher(config)
            function.check()
            return function
        case HuggingFaceTeacherConfig():
            (converted,) = members
            kind = SharedHuggingFaceTeacher if shared else HuggingFaceTeacher
            return kind(config, Origin.of(config), converted)
        case MarianTeacherConfig():
            return MarianTeacher(config, members[0])
        case EnsembleTeacherConfig():
            return OwnModels(members, config.weights)
        case _:
            return OwnModels(members)


def _outside(config: OutsideTeacherConfig) -> Teacher:
    factories = outside_kinds(FACTORIES)
    if config.kind not in factories:
        problem = (
            f"recipe.teacher.kind {config.kind}: the package with its configuration names no "
            f"teacher of this kind under the entry points {FACTORIES}, or it cannot be loaded; "
            f"there are {', '.join(factories) or 'none'}"
        )
        raise ConfigError("\n".join((problem, *failures)))
    place = f"recipe.teacher.kind {config.kind}: its entry point under {FACTORIES}"
    try:
        teacher = factories[config.kind](config)
        if isinstance(teacher, type) or not isinstance(teacher, Teacher) or teacher.has_pieces:
            raise ConfigError(
                f"gives {teacher!r}; it must give a kdray.teacher.engine.Teacher that knows text "
                "alone"
            )
        return OutsideTeacher.of(config, teacher)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None
    except KdrayError:
        raise
    except (Exception, SystemExit) as error:  # it is somebody else's: anything may happen
        raise ConfigError(f"{place} gives no teacher: {type(error).__name__}: {error}") from None
