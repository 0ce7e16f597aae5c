"""Text in one language that students learn beside the parallel text."""

from typing import Annotated, Literal

from pydantic import Field

from kdray.config.base import FileInFolder, Frozen, Place

PARALLEL = "parallel"
"""Name of the parallel text as a source, where it is no mixture."""


class SimilarConfig(Frozen):
    """The sentences that are most like a small text of a domain (Moore and Lewis 2010)."""

    path: FileInFolder  # the text of the domain, in the language of the sentences
    keep: int = Field(ge=1)  # how many sentences are chosen


class SentencesConfig(Frozen):
    """A sentence on each line; a name may hold `*`, be a URL, and end in `.gz` or `.zst`."""

    path: FileInFolder
    max_sentences: int | None = Field(default=None, ge=1)  # the first so many lines are read
    similar_to: SimilarConfig | None = None


class DecodedTextConfig(SentencesConfig):
    """Sentences of the source language, which have the teacher's translations alone."""

    kind: Literal["decoded"]


class BackTranslatedTextConfig(SentencesConfig):
    """Sentences of the target language; a model of the other direction translates them."""

    kind: Literal["back_translated"]
    model: Place  # a folder of kdray's, from the target language to the source language
    beam: int = Field(default=5, ge=1, le=64)


MonolingualConfig = Annotated[
    DecodedTextConfig | BackTranslatedTextConfig, Field(discriminator="kind")
]
