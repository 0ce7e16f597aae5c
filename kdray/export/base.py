"""What a form is in which students leave kdray."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdray.errors import StageFailed


class ExportFailed(StageFailed):
    """A student could not be written in a form."""


@dataclass(frozen=True, slots=True)
class Export:
    """A form of students.

    Attributes:
        write: is given the form's configuration, a folder with a copy of a student and an empty
            folder, and fills that with plain files and folders. -> counts for its record: plain
            data, as JSON holds it.
        version: to be raised when it writes other files of the same student.
    """

    write: Callable[[Any, Path, Path], Mapping[str, Any]]
    version: int = 1
