"""What a form is in which students leave kdray."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kdray.errors import StageFailed
from kdray.model.generate import SearchOptions
from kdray.teacher.engine import Engine


class ExportFailed(StageFailed):
    """A student could not be written in a form, or what was written is not the student."""


class Open(Protocol):
    """Makes what was written ready to translate, as its users do."""

    def __call__(
        self,
        config: Any,  # noqa: ANN401 (the form's own)
        folder: Path,
        /,
        *,
        positions: int,
        threads: int,
    ) -> Engine:
        """Read the folder. `positions` is the most tokens that the student reads and writes."""


def _fits(config: object, student: Path) -> None:
    """Every student can be written."""


def _into_folder(config: object, folder: Path, card: str) -> None:
    """The card's own file is enough."""


@dataclass(frozen=True, slots=True)
class Export:
    """A form of students.

    Attributes:
        write: is given the form's configuration, a folder with a copy of a student and an empty
            folder, and fills that with plain files and folders. -> counts for its record: plain
            data, as JSON holds it.
        version: to be raised when it writes other files of the same student.
        check: is given the configuration and the folder of the student before anything is written,
            and raises a DataError or ConfigError if the form does not fit it.
        open: see `Open`. Without it, what is written can be neither tried nor scored.
        is_exact: whether it computes what the student does; weights of few bits do not.
        search: how its users search, where that is not theirs to choose.
        add_card: puts the card of the model where the form has another place for it, too.
        usage: Markdown for the card: how what was written is used.
    """

    write: Callable[[Any, Path, Path], Mapping[str, Any]]
    version: int = 1
    check: Callable[[Any, Path], None] = _fits
    open: Open | None = None
    is_exact: Callable[[Any], bool] = lambda config: True
    search: SearchOptions | None = None
    add_card: Callable[[Any, Path, str], None] = _into_folder
    usage: str = ""
