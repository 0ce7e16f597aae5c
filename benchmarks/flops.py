"""FLOPs of the matrix products of a training update; other operations are not counted."""

from collections.abc import Sequence
from dataclasses import dataclass

from kdray.config.model import ModelConfig

Size = tuple[int, int, int, int]
"""Size of a batch: rows, longest source, longest target, target tokens."""


@dataclass(frozen=True)
class Flops:
    """FLOPs of one forward pass over a batch, by parts of the student and of the teacher."""

    encoder: float
    decoder: float
    output: float
    teacher_encoder: float
    teacher_decoder: float
    teacher_output: float
    state_maps: float  # the projections of `feature`

    def train(self, *, decoders: int = 1) -> float:
        """Forward and backward pass of the student, with one encoder pass."""
        return 3 * (self.encoder + decoders * (self.decoder + self.output))

    def teacher(self) -> float:
        """Forward pass of the teacher up to the logits."""
        return self.teacher_encoder + self.teacher_decoder + self.teacher_output


def flops_of(
    student: ModelConfig,
    teacher: ModelConfig,
    vocabulary: int,
    batches: Sequence[Size],
) -> Flops:
    """Means over batches. Padding is counted where it is computed."""
    found = []
    for rows, src, tgt, tokens in batches:
        positions = student.encoder_layers * src + student.decoder_layers * tgt
        found.append(
            [
                *forward(student, rows, src, tgt, tokens, vocabulary),
                *forward(teacher, rows, src, tgt, tokens, vocabulary),
                2 * rows * positions * student.width * teacher.width,
            ]
        )
    return Flops(*(sum(column) / len(found) for column in zip(*found, strict=True)))


def forward(
    model: ModelConfig, rows: int, longest_src: int, longest_tgt: int, tokens: int, vocabulary: int
) -> tuple[float, float, float]:
    """FLOPs of encoder, decoder and output projection; a multiply-add counts as two."""
    width, inner = model.width, 2 * model.width * model.feedforward
    src, tgt = rows * longest_src, rows * longest_tgt
    attention = 4 * width * longest_src  # scores and mixture, for each position
    encoder = src * (2 * (4 * width**2 + inner) + attention)
    decoder = tgt * (2 * (6 * width**2 + inner) + attention + 4 * width * longest_tgt)
    decoder += src * 4 * width**2  # keys and values of the source
    output = tokens * 2 * width * vocabulary
    return model.encoder_layers * encoder, model.decoder_layers * decoder, output
