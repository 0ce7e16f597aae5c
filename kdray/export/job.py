"""The step that writes a student in another form."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from kdray.artifacts import Fetch, Key
from kdray.config.export import ExportConfig
from kdray.errors import KdrayError, StageFailed
from kdray.export.forms import export_of
from kdray.jobs import Counts


@dataclass(frozen=True, slots=True)
class ExportJob:
    """Write a student in another form. Whole; see `kdray.jobs`."""

    config: ExportConfig
    student: Key
    is_light: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        """Of the student and the form.

        Raises:
            ConfigError: nobody writes this form.
        """
        version = export_of(self.config.kind).version
        inputs = {"student": self.student.fingerprint}
        return Key("export", version, self.config.model_dump(mode="json"), inputs)

    @property
    def reads(self) -> tuple[Key, ...]:
        """The student."""
        return (self.student,)

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """Fill the folder. -> counts.

        Raises:
            StageFailed: the form cannot be written.
        """
        try:
            return export_of(self.config.kind).write(self.config, fetch(self.student), folder)
        except KdrayError:
            raise
        except Exception as error:  # of another package, it may be anything
            raise StageFailed(
                f"exports: {self.config.kind}: {type(error).__name__}: {error}"
            ) from error
