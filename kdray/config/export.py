"""Forms in which students leave kdray."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from kdray.config.base import Frozen
from kdray.config.outside import with_outside

Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z]{2,8})?$")]
"""A language's code: ISO 639, perhaps with a script, as in de, eng or zh-Hans."""


class CTranslate2Config(Frozen):
    """A CTranslate2 folder with its SentencePiece models."""

    kind: Literal["ctranslate2"]
    # of the stored weights; what they are computed in is chosen when the folder is loaded
    quantization: Literal["float32", "int8", "int8_float32", "float16"] = "float32"


class HuggingFaceExportConfig(Frozen):
    """A folder of Hugging Face, with a fast tokenizer; of a student with a joint vocabulary."""

    kind: Literal["huggingface"]


class ArgosConfig(Frozen):
    """A package of Argos Translate and LibreTranslate; of a student with a joint vocabulary.

    The weights are int8: these programs compute so on a CPU, whatever is stored.
    """

    kind: Literal["argos"]
    from_code: Language
    to_code: Language
    from_name: str = ""  # what people call the language; empty: its code
    to_name: str = ""


class SafetensorsConfig(Frozen):
    """The weights as safetensors, with the shape and the SentencePiece models."""

    kind: Literal["safetensors"]


_BuiltIn = CTranslate2Config | HuggingFaceExportConfig | ArgosConfig | SafetensorsConfig

if TYPE_CHECKING:
    ExportConfig = _BuiltIn
else:
    ExportConfig = with_outside(_BuiltIn, "kdray.config.exports", beside="kdray.export")

SHORT: Mapping[str, Mapping[str, Any]] = {
    "ctranslate2": {"kind": "ctranslate2"},
    "ctranslate2-int8": {"kind": "ctranslate2", "quantization": "int8"},
    "ctranslate2-int8_float32": {"kind": "ctranslate2", "quantization": "int8_float32"},
    "ctranslate2-float16": {"kind": "ctranslate2", "quantization": "float16"},
    "huggingface": {"kind": "huggingface"},
    "argos": {"kind": "argos"},
    "safetensors": {"kind": "safetensors"},
}
"""Names of forms on the command line, and what each configures."""


def needs_joint(config: Any) -> bool:  # noqa: ANN401 (a configuration of whatever package)
    """Whether a form exists only of students with one vocabulary for both languages."""
    return isinstance(config, HuggingFaceExportConfig | ArgosConfig)
