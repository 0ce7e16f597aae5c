"""The step that writes a student in another form."""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from kdray.artifacts import RECORD, Fetch, Key, canonical_json
from kdray.config.export import ExportConfig
from kdray.errors import KdrayError
from kdray.export.base import ExportFailed
from kdray.export.forms import export_of
from kdray.jobs import NOTES, Counts


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
        """Fill the folder from a copy of the student. -> counts.

        Raises:
            ConfigError: nobody writes this form.
            ExportFailed: the form cannot be written, or what was written cannot be published.
        """
        form = export_of(self.config.kind)
        with tempfile.TemporaryDirectory() as work:
            student = Path(work) / "student"
            shutil.copytree(fetch(self.student), student)
            try:
                counts = json.loads(canonical_json(dict(form.write(self.config, student, folder))))
            except (Exception, SystemExit) as error:  # of another package, it may be anything
                kind = "" if isinstance(error, KdrayError) else f"{type(error).__name__}: "
                raise ExportFailed(f"{kind}{error}") from error
        if not isinstance(counts.get(NOTES, []), list):
            raise ExportFailed(f"its counts name {NOTES!r}, which kdray shows as a list of texts")
        _check(folder)
        return dict(counts)


def _check(folder: Path) -> None:
    """See that a folder holds what an artifact can hold.

    Raises:
        ExportFailed: it holds no file, kdray's own record, or what is neither file nor folder.
    """
    inside = sorted(folder.rglob("*"))
    for path in inside:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            name = path.relative_to(folder)
            raise ExportFailed(f"it wrote {name}, which is neither a plain file nor a folder")
    if folder / RECORD in inside:
        raise ExportFailed(f"it wrote {RECORD}, a name that kdray keeps for itself")
    if not any(path.is_file() for path in inside):
        raise ExportFailed("it wrote no file into the folder that it was given")
