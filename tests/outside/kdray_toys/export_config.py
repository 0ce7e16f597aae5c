"""The configuration of the form `toy_words`."""

from typing import Literal

from pydantic import Field

from kdray.config.base import Frozen


class WordsConfig(Frozen):
    """The first target pieces that a student knows, one a line."""

    kind: Literal["toy_words"]
    first: int = Field(default=10, ge=1)
