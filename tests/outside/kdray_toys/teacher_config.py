"""The configuration of a teacher that translates word by word."""

from pathlib import Path
from typing import Literal

from kdray.artifacts import sha256_file
from kdray.config.foreign_teachers import OutsideTeacherConfig
from kdray.errors import InputError


class DictionaryConfig(OutsideTeacherConfig):
    """A dictionary: each line of a file is a word, a tab and its translation."""

    kind: Literal["dictionary"]
    path: str
    max_words: int = 100  # of a source; longer ones are not translated

    def checksum(self) -> str:
        """Of the file and of the words that it reads."""
        try:
            return f"{sha256_file(Path(self.path))[:16]}-{self.max_words}"
        except OSError as error:
            raise InputError(
                f"recipe.teacher.path {self.path}: cannot be read ({error.strerror}); name a "
                "dictionary"
            ) from None
