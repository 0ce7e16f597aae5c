"""The shape of a translation model: a named preset, or its numbers."""

from typing import Literal, Self

from pydantic import Field, model_validator

from kdray.config.base import Frozen

Preset = Literal["nano", "tiny", "mini", "small", "medium", "base", "tiny_deep", "small_deep"]


class _Shape(Frozen):
    width: int
    feedforward: int
    heads: int
    encoder_layers: int
    decoder_layers: int


PRESETS: dict[Preset, _Shape] = {
    "nano": _Shape(width=32, feedforward=64, heads=2, encoder_layers=1, decoder_layers=1),
    "tiny": _Shape(width=64, feedforward=128, heads=4, encoder_layers=2, decoder_layers=1),
    "mini": _Shape(width=128, feedforward=256, heads=4, encoder_layers=4, decoder_layers=4),
    "small": _Shape(width=256, feedforward=1024, heads=4, encoder_layers=3, decoder_layers=3),
    "medium": _Shape(width=512, feedforward=1024, heads=4, encoder_layers=6, decoder_layers=6),
    "base": _Shape(width=512, feedforward=2048, heads=8, encoder_layers=6, decoder_layers=6),
    # Deep encoder, shallow decoder (Kasai et al. 2021): the encoder runs once a sentence,
    # the decoder once a token, so depth on the source side is nearly free when decoding.
    "tiny_deep": _Shape(width=64, feedforward=128, heads=4, encoder_layers=6, decoder_layers=1),
    "small_deep": _Shape(width=256, feedforward=1024, heads=4, encoder_layers=6, decoder_layers=1),
}


class ModelConfig(Frozen):
    """An encoder-decoder Transformer. A field that is given overrides the preset's."""

    preset: Preset = "tiny"
    width: int = Field(default=0, ge=0)
    feedforward: int = Field(default=0, ge=0)
    heads: int = Field(default=0, ge=0)
    encoder_layers: int = Field(default=0, ge=0)
    decoder_layers: int = Field(default=0, ge=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    max_length: int = Field(default=512, ge=8, le=8192)  # positions on either side

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, data: object) -> object:
        """Write the preset's numbers out, so that equal shapes have equal fingerprints."""
        if not isinstance(data, dict):
            return data
        name = data.get("preset", "tiny")
        preset = PRESETS.get(name) if isinstance(name, str) else None  # type: ignore[call-overload]
        return data if preset is None else {**preset.model_dump(), **data}

    @model_validator(mode="after")
    def _divides(self) -> Self:
        for name in ("width", "feedforward", "heads", "encoder_layers", "decoder_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.width % self.heads:
            raise ValueError(
                f"width {self.width} does not divide by {self.heads} heads; "
                f"use a width such as {self.width // self.heads * self.heads or self.heads}"
            )
        if (self.width // self.heads) % 2:
            raise ValueError(f"width/heads is {self.width // self.heads}; it must be even")
        return self
