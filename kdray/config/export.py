"""Forms in which students leave kdray."""

from typing import TYPE_CHECKING, Literal

from kdray.config.base import Frozen
from kdray.config.outside import with_outside


class CTranslate2Config(Frozen):
    """A CTranslate2 folder with its SentencePiece models."""

    kind: Literal["ctranslate2"]
    # of the stored weights; what they are computed in is chosen when the folder is loaded
    quantization: Literal["float32", "int8", "float16"] = "float32"


if TYPE_CHECKING:
    ExportConfig = CTranslate2Config
else:
    ExportConfig = with_outside(CTranslate2Config, "kdray.config.exports", beside="kdray.export")
