"""Configuration of `imitation`."""

from typing import Literal

from pydantic import Field

from kdray.config.methods.base import Online
from kdray.config.needs import Needs
from kdray.schema import View


class ImitationConfig(Online):
    """The teacher's word for prefixes that the student made (Lin et al. 2020).

    Sentences take student prefixes with probability 1 − base^(−i/N), i of N the update.
    """

    kind: Literal["imitation"]
    target: Literal["distribution", "argmax"] = "distribution"
    base: float = Field(default=200.0, gt=1)
    refresh: int = Field(default=4, ge=1)  # updates between two copies of the student that writes

    def needs(self) -> Needs:
        """Distributions on the student's sequences, of which there are more as the run goes on."""
        return Needs(distributions=self.on(View.STUDENT), run_length=True, own_instead=True)
