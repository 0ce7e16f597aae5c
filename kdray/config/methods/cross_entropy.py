"""Configuration of `cross_entropy`."""

from typing import Literal

from kdray.config.base import LabelSmoothing
from kdray.config.methods.base import BaseMethodConfig


class CrossEntropyConfig(BaseMethodConfig):
    """The baseline: label-smoothed cross-entropy on the references, no teacher."""

    kind: Literal["cross_entropy"]
    label_smoothing: LabelSmoothing = 0.1
