"""Configuration of `sentence_level`."""

from typing import Literal

from kdray.config.base import LabelSmoothing
from kdray.config.methods.base import BaseMethodConfig
from kdray.config.needs import Needs
from kdray.schema import View


class SentenceLevelConfig(BaseMethodConfig):
    """Cross-entropy on the teacher's translations (Kim & Rush 2016), optionally references too."""

    kind: Literal["sentence_level"]
    with_reference: bool = False
    label_smoothing: LabelSmoothing = 0.0

    def needs(self) -> Needs:
        """One translation of each pair."""
        return Needs(views=(View.HYPOTHESIS, *((View.REFERENCE,) if self.with_reference else ())))
