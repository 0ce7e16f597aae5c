"""The configuration of the scorer `toy_overlap`."""

from typing import Literal

from pydantic import Field

from kdray.config.scorer import ScorerConfig


class OverlapConfig(ScorerConfig):
    """The share of a reference's words that a translation has."""

    kind: Literal["toy_overlap"]
    shortest: int = Field(default=1, ge=1)  # characters of a word that counts
