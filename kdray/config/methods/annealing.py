"""Configuration of `annealing`."""

from typing import Literal

from pydantic import Field

from kdray.config.methods.base import EXACT, Distilled
from kdray.config.needs import Needs
from kdray.schema import View


class AnnealingConfig(Distilled):
    """‖z_q − Φ(τ)·z_p‖² on centred logits, Φ rising from 1/τ_max to 1 (Jafari et al. 2021).

    The paper's first stage; give `cross_entropy` as the second in `stages`.
    """

    forms = EXACT
    kind: Literal["annealing"]
    max_temperature: int = Field(default=10, ge=1)

    def needs(self) -> Needs:
        """Distributions on the references; Φ rises over the whole run."""
        return Needs(distributions=self.on(View.REFERENCE), run_length=True)
