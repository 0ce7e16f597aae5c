"""Configuration of `annealing`."""

from typing import Literal

from pydantic import Field

from kdray.config.distilled import EXACT, Distilled


class AnnealingConfig(Distilled):
    """‖z_q − Φ(τ)·z_p‖² on centred logits, Φ rising from 1/τ_max to 1 (Jafari et al. 2021).

    The paper's first stage; give `cross_entropy` as the second in `stages`.
    """

    forms = EXACT
    kind: Literal["annealing"]
    max_temperature: int = Field(default=10, ge=1)
