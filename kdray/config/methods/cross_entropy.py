"""Configuration of `cross_entropy`."""

from typing import Literal

from kdray.config.base import Frozen, LabelSmoothing
from kdray.config.signals import Needs


class CrossEntropyConfig(Frozen):
    """The baseline: label-smoothed cross-entropy on the references, no teacher."""

    kind: Literal["cross_entropy"]
    label_smoothing: LabelSmoothing = 0.1

    def needs(self) -> Needs:
        """Nothing of a teacher."""
        return Needs()
