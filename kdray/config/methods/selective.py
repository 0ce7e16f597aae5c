"""Configuration of `selective`."""

from typing import Literal

from pydantic import Field

from kdray.config.base import LabelSmoothing
from kdray.config.methods.base import Distilled


class SelectiveConfig(Distilled):
    """CE, plus KL on the tokens that the student finds hardest (Wang et al. 2021).

    `batch` takes the share of each batch; `global` compares with the losses of the last
    `queue` tokens.
    """

    kind: Literal["selective"]
    scope: Literal["batch", "global"] = "global"
    share: float = Field(default=0.5, gt=0, le=1)
    queue: int = Field(default=30_000, ge=1)
    label_smoothing: LabelSmoothing = 0.1
