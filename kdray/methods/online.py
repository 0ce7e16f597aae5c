"""What a method may ask of a teacher that runs beside the student, about any prefix.

B sentences, S source positions, T target positions, N real target positions, V vocabulary, D width.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from kdray.methods.targets import DenseTargets
from kdray.model.transformer import Taps, Transformer


class OnlineTeacher(Protocol):
    """One model, or several whose probabilities are averaged.

    It is no module of the method: it has no gradient, no place in checkpoints, and one copy in
    each process.
    """

    @property
    def positions(self) -> int:
        """The longest sequence that it reads, on either side."""

    @property
    def output_weights(self) -> Sequence[Tensor]:
        """The output matrix of each model, [V, D], on the device where it runs."""

    def encode(self, src_BS: Tensor, src_mask_BS: Tensor) -> list[Tensor]:
        """Encoder states of each model, for several readings of the same sources."""

    def read(
        self,
        src_BS: Tensor,
        src_mask_BS: Tensor,
        inputs_BT: Tensor,
        positions_N: Tensor,
        *,
        temperature: float = 1.0,
        memories: Sequence[Tensor] | None = None,
    ) -> DenseTargets:
        """Distributions at the real positions of target sequences, teacher-forced.

        `memories` are what `encode` gave for these sources.
        """

    def transformer(self) -> Transformer:
        """Kdray's own model that it is, for methods that look inside; a config refuses others."""

    def taps(self, src_BS: Tensor, src_mask_BS: Tensor, inputs_BT: Tensor) -> Taps:
        """Hidden states and attention maps of all layers of that model."""
