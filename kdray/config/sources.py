"""Where sentence pairs are read from: files of several formats, archives, data sets by their name.

A name of a file may hold `*`, which stands for any characters of a name, and it may be a URL.
"""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from kdray.config.base import FileInFolder, Frozen, Name


class TextPairs(Frozen):
    """Two UTF-8 text files whose lines translate each other; they may end in `.gz` or `.zst`."""

    format: Literal["text"] = "text"
    src: FileInFolder
    tgt: FileInFolder


class TsvPairs(Frozen):
    """A tab-separated file without quoting, also `.gz` or `.zst`; columns count from 0."""

    format: Literal["tsv"]
    path: FileInFolder
    src_column: int = Field(default=0, ge=0)
    tgt_column: int = Field(default=1, ge=0)
    header: bool = False


class JsonlPairs(Frozen):
    """A JSON object on each line. A dotted field name, as `translation.en`, is a nested field."""

    format: Literal["jsonl"]
    path: FileInFolder
    src_field: str
    tgt_field: str


class ParquetPairs(Frozen):
    """A Parquet file with two string columns."""

    format: Literal["parquet"]
    path: FileInFolder
    src_column: str
    tgt_column: str


class TmxPairs(Frozen):
    """A translation memory. A tag `de` also means `de-AT`; `de-AT` means itself alone."""

    format: Literal["tmx"]
    path: FileInFolder
    src_tag: str = Field(min_length=1)
    tgt_tag: str = Field(min_length=1)


class ArchivePairs(Frozen):
    """A zip archive with two text files, as OPUS has it; their suffixes are languages."""

    format: Literal["moses_zip"]
    path: FileInFolder
    src_suffix: str = Field(min_length=1)
    tgt_suffix: str = Field(min_length=1)


class SacrebleuPairs(Frozen):
    """A test set of sacrebleu, from its own cache, with one of its references."""

    format: Literal["sacrebleu"]
    test_set: str  # as `sacrebleu --list` shows it: wmt19, mtnt1.1/test
    langpair: str = Field(pattern=r"^[A-Za-z]+(_[A-Za-z]+)?-[A-Za-z]+(_[A-Za-z]+)?$")
    reference: str = "ref"  # name of the reference; `ref` is the first one


class HuggingFacePairs(Frozen):
    """A split of a data set in Hugging Face's form: a folder, or a name of the hub."""

    format: Literal["huggingface"]
    path: FileInFolder
    subset: str | None = None
    split: str = "train"
    src_field: str
    tgt_field: str
    # of a name of the hub: a commit, since the name alone may mean other data tomorrow
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{7,40}$")


def _format(source: object) -> str:
    """Format of a pair source; by default plain text."""
    given = source.get("format") if isinstance(source, dict) else getattr(source, "format", None)
    return "text" if given is None else str(given)


_Pairs = (
    Annotated[TextPairs, Tag("text")]
    | Annotated[TsvPairs, Tag("tsv")]
    | Annotated[JsonlPairs, Tag("jsonl")]
    | Annotated[ParquetPairs, Tag("parquet")]
    | Annotated[TmxPairs, Tag("tmx")]
    | Annotated[ArchivePairs, Tag("moses_zip")]
    | Annotated[SacrebleuPairs, Tag("sacrebleu")]
    | Annotated[HuggingFacePairs, Tag("huggingface")]
)

PairSource = Annotated[_Pairs, Discriminator(_format)]


class Mixture(Frozen):
    """Several sources in one training set, one after another in the order in which they stand.

    `max_pairs` caps sources: the first so many pairs of each that it names are read.
    """

    format: Literal["mixture"]
    sources: dict[Name, PairSource] = Field(min_length=1)
    max_pairs: dict[Name, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _caps_are_of_sources(self) -> Self:
        if unknown := [name for name in self.max_pairs if name not in self.sources]:
            raise ValueError(
                f"max_pairs caps {', '.join(unknown)}, which is no source; there are "
                f"{', '.join(self.sources)}"
            )
        return self


TrainSource = Annotated[_Pairs | Annotated[Mixture, Tag("mixture")], Discriminator(_format)]
