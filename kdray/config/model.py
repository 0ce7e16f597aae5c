"""The shape of a translation model: a named preset, or its numbers."""

from typing import Literal, Self

from pydantic import Field, model_validator

from kdray.config.base import Frozen

Preset = Literal["nano", "tiny", "mini", "small", "medium", "base", "tiny_deep", "small_deep"]


SHAPE = ("width", "feedforward", "heads", "encoder_layers", "decoder_layers")
_NUMBERS: dict[Preset, tuple[int, ...]] = {
    "nano": (32, 64, 2, 1, 1),
    "tiny": (64, 128, 4, 2, 1),
    "mini": (128, 256, 4, 4, 4),
    "small": (256, 1024, 4, 3, 3),
    "medium": (512, 1024, 4, 6, 6),
    "base": (512, 2048, 8, 6, 6),
    # Deep encoder, shallow decoder (Kasai et al. 2021): the encoder runs once a sentence,
    # the decoder once a token, so depth on the source side is nearly free when decoding.
    "tiny_deep": (64, 128, 4, 6, 1),
    "small_deep": (256, 1024, 4, 6, 1),
}
PRESETS = {name: dict(zip(SHAPE, numbers, strict=True)) for name, numbers in _NUMBERS.items()}


MOST_LAYERS, MOST_WEIGHTS = 1000, 20 * 10**9


class ModelConfig(Frozen):
    """An encoder-decoder Transformer. A field that is given overrides the preset's."""

    preset: Preset = "tiny"
    width: int = Field(default=0, ge=0)
    feedforward: int = Field(default=0, ge=0)
    heads: int = Field(default=0, ge=0)
    encoder_layers: int = Field(default=0, ge=0, le=MOST_LAYERS)
    decoder_layers: int = Field(default=0, ge=0, le=MOST_LAYERS)
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
        return data if preset is None else {**preset, **data}

    @model_validator(mode="after")
    def _divides(self) -> Self:
        for name in SHAPE:
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

    @model_validator(mode="after")
    def _fits_a_machine(self) -> Self:
        width, layers = self.width, self.encoder_layers + self.decoder_layers
        attention = 4 * width**2 * (self.encoder_layers + 2 * self.decoder_layers)
        if (weights := attention + 2 * width * self.feedforward * layers) > MOST_WEIGHTS:
            raise ValueError(
                f"a model of width {width}, feedforward {self.feedforward} and {layers} layers has "
                f"{weights:.2g} weights, and {MOST_WEIGHTS:.0g} are the most; lower them"
            )
        return self
