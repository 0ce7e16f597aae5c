"""What a form is in which students leave kdray."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Export:
    """A form of students.

    Attributes:
        write: is given the form's configuration, the folder of a student and an empty folder, and
            fills that. -> counts for its record.
        version: to be raised when it writes other files of the same student.
    """

    write: Callable[[Any, Path, Path], Mapping[str, Any]]
    version: int = 1
