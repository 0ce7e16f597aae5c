"""Teachers that are no kdray models: other tools' folders, commands, functions."""

from abc import abstractmethod
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from kdray.config.base import Frozen, Place
from kdray.config.line_command import LineCommandConfig

ComputeType = Literal["float32", "int8", "float16", "bfloat16"]
Signature = Annotated[str, Field(min_length=1, max_length=200)]
NotEmpty = Annotated[str, Field(min_length=1)]


class ForeignTeacherConfig(Frozen):
    """A teacher that is no kdray model. It translates text; most give no distributions."""

    kind: str


class OutsideTeacherConfig(ForeignTeacherConfig):
    """A teacher from outside the package, which translates text and gives no distributions.

    A subclass sets `kind` to a Literal of its own. It stands under the entry points
    `kdray.config.teachers`, and what makes the teacher itself under `kdray.teacher`.
    """

    @abstractmethod
    def checksum(self) -> str:
        """What stands for all that decides its translations, in the identity of what is made.

        It is asked for before anything runs, so it must need neither torch nor the teacher itself.

        Raises:
            InputError: a file that it is to be made of cannot be read.
        """


class CommandTeacherConfig(LineCommandConfig, ForeignTeacherConfig):
    """A command that reads a source a line and prints a translation a line; once for a shard."""

    kind: Literal["command"]
    # what translates, and its version: it stands for the program, which kdray does not look into
    signature: Signature
    # json: a line is a list of translations, best first, each a text or a pair of text and score
    output: Literal["text", "json"] = "text"


class FunctionTeacherConfig(ForeignTeacherConfig):
    """A Python function of an installed package: texts in, as many translations out."""

    kind: Literal["function"]
    # its name among the entry points `kdray.translators`
    function: NotEmpty
    # what translates, and its version: it stands for the function
    signature: Signature
    options: dict[str, Any] = Field(default_factory=dict)  # given to it by their names


class CTranslate2TeacherConfig(ForeignTeacherConfig):
    """A folder that a converter of CTranslate2 wrote, with what cuts text into its pieces."""

    kind: Literal["ctranslate2"]
    path: Place
    # spaces: a line holds the model's own tokens already, with spaces between them
    pieces: Literal["sentencepiece", "spaces"] = "sentencepiece"
    # SentencePiece models, in the folder or elsewhere; null: looked for under usual names
    source_pieces: NotEmpty | None = None
    target_pieces: NotEmpty | None = None
    source_prefix: tuple[str, ...] = ()  # pieces before each source, such as a language's tag
    # pieces behind it; null: `</s>`, unless the model adds that itself
    source_suffix: tuple[str, ...] | None = None
    # pieces that each translation begins with, such as a language's tag; no part of its text
    target_prefix: tuple[str, ...] = ()
    compute_type: ComputeType = "float32"


class MarianTeacherConfig(ForeignTeacherConfig):
    """A model of Marian, such as OPUS-MT publishes: npz weights, YAML vocabularies, SentencePiece.

    It is converted to CTranslate2 once.
    """

    kind: Literal["marian"]
    # a folder with decoder.yml, or with one npz file and its vocabularies
    path: Place
    # SentencePiece models, in the folder or elsewhere; null: source.spm and target.spm
    source_pieces: NotEmpty | None = None
    target_pieces: NotEmpty | None = None
    source_prefix: tuple[str, ...] = ()  # pieces before each source, such as >>deu<<
    compute_type: ComputeType = "float32"


class HuggingFaceTeacherConfig(ForeignTeacherConfig):
    """A translation model in the form of Hugging Face, from a folder or from the hub.

    It gives distributions too, if its vocabulary is one that kdray's students can share; then
    there is no `recipe.tokenizer`.
    """

    kind: Literal["huggingface"]
    path: Place | None = None
    hub: NotEmpty | None = None  # its name there, such as Helsinki-NLP/opus-mt-de-en
    # a branch, a tag or a commit of the hub; a commit alone stays the same
    revision: NotEmpty = "main"
    src_lang: str = ""  # as the teacher calls its languages: deu_Latn, de, de_DE
    tgt_lang: str = ""
    before_source: str = ""  # text that is put before each source, such as a task of T5
    compute_type: ComputeType = "float32"

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.hub is None):
            raise ValueError(
                "a teacher of kind huggingface has either a path, which is a folder, or the name "
                "of a model on the hub; give one of the two"
            )
        return self
