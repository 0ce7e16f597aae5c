"""Are the tokens that one form of a model wrote those that another form would write?

A token that is not the likeliest one of the other form is behind it by some nats. By little, both
nearly tie, and the arithmetic of another library can turn them round. By more, it is another model.

T tokens.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

NEAR = 0.01
"""Nats: what is behind by less nearly ties."""


@dataclass(slots=True)
class Ties:
    """What was seen at the tokens of translations.

    tokens, ties, wrong: how many there are, and how many are behind the likeliest one: by less than
    `NEAR`, and by more. worst: by how much at most, in nats.
    """

    tokens: int = 0
    ties: int = 0
    wrong: int = 0
    worst: float = 0.0

    def add(self, behind_T: ArrayLike) -> None:
        """Count the tokens of a translation, by how much each is behind."""
        behind = np.asarray(behind_T, dtype=np.float64)
        self.tokens += len(behind)
        self.ties += int(((behind > 0) & (behind < NEAR)).sum())
        self.wrong += int((behind >= NEAR).sum())
        self.worst = max(self.worst, float(behind.max(initial=0.0)))
