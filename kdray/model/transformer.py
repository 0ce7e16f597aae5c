"""One encoder-decoder Transformer: pre-norm, fused projections, tied embeddings.

Shapes: B sentences, S source positions, T target positions, D width, H heads, V vocabulary.
Masks are True where a position is not padding.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdray.config.model import ModelConfig
from kdray.model.attention import Cache, CrossAttention, SelfAttention, attention_bias, causal_bias
from kdray.model.dropout import Dropout
from kdray.model.precision import product_dtype


@dataclass(slots=True)
class Taps:
    """Results of each layer, recorded for a method that compares them.

    States [B, positions, D], and attention weights as the mean over heads: encoder [B, S, S],
    decoder [B, T, T], cross [B, T, S].
    """

    encoder_states: list[Tensor] = field(default_factory=list)
    decoder_states: list[Tensor] = field(default_factory=list)
    encoder_maps: list[Tensor] = field(default_factory=list)
    decoder_maps: list[Tensor] = field(default_factory=list)
    cross_maps: list[Tensor] = field(default_factory=list)


class Transformer(nn.Module):
    """A translation model.

    Args:
        config: its shape.
        src_vocab: rows of the source embedding.
        tgt_vocab: rows of the target embedding, which is also the output matrix.
        shared: whether both sides have one embedding, which needs a joint vocabulary.
    """

    def __init__(
        self, config: ModelConfig, *, src_vocab: int, tgt_vocab: int, shared: bool
    ) -> None:
        super().__init__()
        if shared and src_vocab != tgt_vocab:
            raise ValueError(f"shared embeddings need equal vocabularies: {src_vocab}, {tgt_vocab}")
        self.config = config
        self.shared = shared
        width = config.width
        self.tgt_embedding = nn.Embedding(tgt_vocab, width)
        self.src_embedding = self.tgt_embedding if shared else nn.Embedding(src_vocab, width)
        self.register_buffer(
            "positions", sinusoids(config.max_length, width=width), persistent=False
        )
        self.dropout = Dropout(config.dropout)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.encoder_norm = nn.LayerNorm(width)
        self.decoder_norm = nn.LayerNorm(width)
        self._initialise()

    @property
    def output_weight(self) -> Tensor:
        """The output matrix, [V, D]: logits are hidden @ output_weight.T."""
        return self.tgt_embedding.weight

    @property
    def src_vocab(self) -> int:
        """Rows of the source embedding."""
        return self.src_embedding.num_embeddings

    @property
    def tgt_vocab(self) -> int:
        """Rows of the target embedding."""
        return self.tgt_embedding.num_embeddings

    def num_params(self) -> int:
        """Parameters, tied ones counted once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def encode(self, src_BS: Tensor, src_mask_BS: Tensor, *, taps: Taps | None = None) -> Tensor:
        """Source ids to encoder states. -> [B, S, D]."""
        x = self._embed(self.src_embedding, src_BS, start=0)
        bias = attention_bias(src_mask_BS, dtype=product_dtype(x))
        for layer in self.encoder:
            x = layer(x, bias, taps)
            if taps is not None:
                taps.encoder_states.append(x)
        return torch.as_tensor(self.encoder_norm(x))

    def decode(
        self,
        tgt_BT: Tensor,
        memory_BSD: Tensor,
        src_mask_BS: Tensor,
        *,
        cache: Cache | None = None,
        start: int = 0,
        taps: Taps | None = None,
    ) -> Tensor:
        """Decoder states for target input ids, each seeing those before it. -> [B, T, D].

        With a cache, `tgt_BT` holds one new position (T = 1), number `start`.
        """
        x = self._embed(self.tgt_embedding, tgt_BT, start=start)
        cross_bias = attention_bias(src_mask_BS, dtype=product_dtype(x))
        causal = None
        if cache is None:
            causal = causal_bias(tgt_BT.size(1), dtype=product_dtype(x), device=x.device)
        for layer in self.decoder:
            x = layer(x, memory_BSD, causal, cross_bias, cache, taps)
            if taps is not None:
                taps.decoder_states.append(x)
        return torch.as_tensor(self.decoder_norm(x))

    def forward(self, src_BS: Tensor, src_mask_BS: Tensor, tgt_BT: Tensor) -> Tensor:
        """Logits. -> [B, T, V]."""
        hidden = self.decode(tgt_BT, self.encode(src_BS, src_mask_BS), src_mask_BS)
        return F.linear(hidden, self.output_weight)

    def _embed(self, embedding: nn.Embedding, ids: Tensor, *, start: int) -> Tensor:
        stop = start + ids.size(1)
        if stop > self.config.max_length:
            raise ValueError(f"{stop} positions exceed the model's {self.config.max_length}")
        assert isinstance(self.positions, Tensor)
        scaled = embedding(ids) * math.sqrt(self.config.width)
        return torch.as_tensor(self.dropout(scaled + self.positions[start:stop].to(scaled.dtype)))

    def _initialise(self) -> None:
        """Xavier for matrices, separately for each part of a fused one; embeddings N(0, 1/D)."""
        for name, parameter in self.named_parameters():
            if "embedding" in name:
                nn.init.normal_(parameter, std=self.config.width**-0.5)
            elif parameter.dim() == 2 and name.endswith(("qkv.weight", "key_value.weight")):
                for block in torch.split(parameter.data, self.config.width):
                    nn.init.xavier_uniform_(block, gain=2**-0.5)
            elif parameter.dim() == 2:
                gain = 2**-0.5 if name.endswith("query.weight") else 1.0
                nn.init.xavier_uniform_(parameter, gain=gain)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each with a norm before it and a residual connection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = SelfAttention(config)
        self.feedforward_norm = nn.LayerNorm(config.width)
        self.feedforward = FeedForward(config)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor | None, taps: Taps | None) -> Tensor:
        """[B, S, D] -> [B, S, D]."""
        maps = None if taps is None else taps.encoder_maps
        x = x + self.dropout(self.attention(self.attention_norm(x), bias, None, maps))
        return torch.add(x, self.dropout(self.feedforward(self.feedforward_norm(x))))


class DecoderLayer(nn.Module):
    """Causal self-attention, attention over the source, and feed-forward."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = SelfAttention(config)
        self.cross_norm = nn.LayerNorm(config.width)
        self.cross = CrossAttention(config)
        self.feedforward_norm = nn.LayerNorm(config.width)
        self.feedforward = FeedForward(config)
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        causal: Tensor | None,
        cross_bias: Tensor | None,
        cache: Cache | None,
        taps: Taps | None,
    ) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        maps = (None, None) if taps is None else (taps.decoder_maps, taps.cross_maps)
        x = x + self.dropout(self.attention(self.attention_norm(x), causal, cache, maps[0]))
        x = x + self.dropout(self.cross(self.cross_norm(x), memory, cross_bias, cache, maps[1]))
        return torch.add(x, self.dropout(self.feedforward(self.feedforward_norm(x))))


class FeedForward(nn.Module):
    """Two linear maps with a ReLU between."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.width, config.feedforward)
        self.outer = nn.Linear(config.feedforward, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        return torch.as_tensor(self.outer(F.relu(self.inner(x))))


def sinusoids(length: int, *, width: int) -> Tensor:
    """Sinusoidal positions (Vaswani et al. 2017, section 3.5), sines then cosines. -> [L, D]."""
    half = width // 2
    rates = torch.exp(torch.arange(half).float() * (-math.log(10_000) / max(half - 1, 1)))
    angles = torch.arange(length).float()[:, None] * rates[None, :]
    return torch.cat((angles.sin(), angles.cos()), dim=1)
