"""The teacher in the training step: frozen, in evaluation mode, asked about any prefix.

B sentences, S source positions, T target positions, N real positions, M teachers of an ensemble.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kdray.methods.targets import DenseTargets, Member
from kdray.model.transformer import Taps, Transformer


@dataclass(frozen=True, slots=True)
class OnlineTeacher:
    """One teacher, or several whose probabilities are averaged.

    It is no module of the method: it has no gradient, no place in checkpoints, and one copy in
    each process.
    """

    models: Sequence[Transformer]

    def __post_init__(self) -> None:
        for model in self.models:
            model.eval().requires_grad_(False)

    @property
    def positions(self) -> int:
        """The longest sequence that all models can read."""
        return min(model.config.max_length for model in self.models)

    def encode(self, src_BS: Tensor, src_mask_BS: Tensor) -> list[Tensor]:
        """Encoder states of each teacher, for several readings of the same sources."""
        with torch.no_grad():
            return [model.encode(src_BS, src_mask_BS) for model in self.models]

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
        memories = memories or self.encode(src_BS, src_mask_BS)
        with torch.no_grad():
            members = []
            for model, memory in zip(self.models, memories, strict=True):
                hidden = model.decode(inputs_BT, memory, src_mask_BS).flatten(0, 1)
                members.append(Member(hidden.index_select(0, positions_N), model.output_weight))
        return DenseTargets(tuple(members), temperature)

    def taps(self, src_BS: Tensor, src_mask_BS: Tensor, inputs_BT: Tensor) -> Taps:
        """Hidden states and attention maps of all layers of the only teacher."""
        (model,) = self.models
        taps = Taps()
        with torch.no_grad():
            memory = model.encode(src_BS, src_mask_BS, taps=taps)
            model.decode(inputs_BT, memory, src_mask_BS, taps=taps)
        return taps
