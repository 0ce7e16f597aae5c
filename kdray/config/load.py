"""Reads a YAML file and `--set` overrides into an `Experiment`."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kdray.config.dotted import set_dotted
from kdray.config.experiment import Experiment
from kdray.config.faults import faults
from kdray.config.grid import points_of
from kdray.config.outside import failures
from kdray.config.plain_yaml import parse, read_mapping
from kdray.config.shipped import shipped_or_own
from kdray.errors import ConfigError, InputError

log = logging.getLogger(__name__)


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read a configuration file and apply overrides such as `recipe.students.seeds=[1,2]`.

    `tune_configs/NAME.yaml` is found where kdray is installed, unless there is such a file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or does not describe an experiment.
    """
    data = read_yaml(shipped_or_own(path))
    for override in overrides:
        apply_override(data, override)
    try:
        experiment = Experiment.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join((*faults(error, str(path), Experiment), *failures))) from None
    with naming(path):
        points_of(experiment.recipe)  # each is checked before anything is planned
    for failure in failures:
        log.warning(failure)
    return experiment


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """What is refused of a configuration in here is told with its file."""
    try:
        yield
    except InputError as error:
        lines = str(error).split("\n")
        if type(error) not in (ConfigError, InputError) or lines[0].startswith(f"{path}: "):
            raise  # of a corpus or a model it names their files
        raise type(error)("\n".join(f"{path}: {line}" for line in lines)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; duplicate keys are refused."""
    return read_mapping(
        path, what="an experiment", repair="give the path of a YAML file with `name:` and `recipe:`"
    )


def apply_override(data: dict[str, Any], override: str) -> None:
    """Set one dotted key in place; the value is read as YAML."""
    dotted, equals, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {override}: expected KEY=VALUE with a dotted key, as in a.b=c")
    try:
        value = parse(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML: {error}") from None
    try:
        set_dotted(data, ".".join(keys), value)
    except ValueError as error:
        raise ConfigError(f"--set {override}: {error}") from None
