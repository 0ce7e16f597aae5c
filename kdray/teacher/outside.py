"""A teacher that another package brings, with an identity that forgets nothing of its recipe."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kdray.artifacts import Fetch, Key, Source
from kdray.config.foreign_teachers import OutsideTeacherConfig
from kdray.errors import ConfigError
from kdray.teacher.engine import Engine, Teacher


@dataclass(frozen=True)
class OutsideTeacher(Teacher):
    """What the package made, as a job carries it."""

    teacher: Teacher
    key: Key  # of its whole configuration and all that it says of itself

    @classmethod
    def of(cls, config: OutsideTeacherConfig, teacher: Teacher) -> Self:
        """With what stands for it.

        Raises:
            ConfigError: that is not what can stand for it.
        """
        said = {"fingerprints": teacher.fingerprints, "checksum()": (config.checksum(),)}
        for what, names in said.items():
            if not (isinstance(names, tuple) and names and all(map(_is_name, names))):
                raise ConfigError(f"{what} is {names!r}; give text that is not empty (a tuple)")
        if said["fingerprints"] != teacher.fingerprints:
            raise ConfigError("fingerprints differ from call to call; take what stays the same")
        pickle.dumps(teacher)  # it goes to workers
        recipe = config.model_dump(mode="json")
        inputs = {**teacher.identity, "checksum": config.checksum()}
        return cls(teacher, Key("outside_teacher", 1, recipe, inputs))

    def __post_init__(self) -> None:
        """Take over what the package's class says of itself."""
        object.__setattr__(self, "on_gpu", self.teacher.on_gpu)
        object.__setattr__(self, "modes", self.teacher.modes)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of the key."""
        return (self.key.fingerprint,)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Those of the package's teacher, as all that follows."""
        return self.teacher.sources

    @property
    def by_perplexity(self) -> bool:
        """See `Teacher`."""
        return self.teacher.by_perplexity

    def num_params(self, fetch: Fetch) -> int | None:
        """See `Teacher`."""
        return self.teacher.num_params(fetch)

    def prepare(self, work: Path, fetch: Fetch, *, device: str) -> None:
        """See `Teacher`."""
        self.teacher.prepare(work, fetch, device=device)

    def open(self, fetch: Fetch, *, device: str, threads: int, work: Path | None = None) -> Engine:
        """See `Teacher`."""
        return self.teacher.open(fetch, device=device, threads=threads, work=work)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""
