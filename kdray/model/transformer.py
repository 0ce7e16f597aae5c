"""One encoder-decoder Transformer: pre-norm, fused projections, tied embeddings.

Shapes: B sentences, S source positions, T target positions, D width, H heads, V vocabulary.
Masks are True where a position is real.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdray.config import ModelConfig
from kdray.model.dropout import Dropout


@dataclass(slots=True)
class LayerCache:
    """Keys and values of one decoder layer, [B, H, positions, D/H]."""

    self_key: Tensor | None = None
    self_value: Tensor | None = None
    cross_key: Tensor | None = None
    cross_value: Tensor | None = None

    def select(self, rows: Tensor) -> None:
        """Keep or repeat rows, as a beam search reorders its hypotheses."""
        for name in ("self_key", "self_value", "cross_key", "cross_value"):
            value = getattr(self, name)
            if value is not None:
                setattr(self, name, value.index_select(0, rows))


class Transformer(nn.Module):
    """A translation model.

    Args:
        config: its shape.
        src_vocab: rows of the source embedding.
        tgt_vocab: rows of the target embedding, which is the output matrix too.
        shared: one embedding for both sides (needs a joint vocabulary).
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
    def output_weight(self) -> nn.Parameter:
        """The output matrix, [V, D]: logits are hidden @ output_weight.T."""
        weight = self.tgt_embedding.weight
        assert isinstance(weight, nn.Parameter)
        return weight

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

    def encode(self, src_BS: Tensor, src_mask_BS: Tensor) -> Tensor:
        """Source ids to encoder states. -> [B, S, D]."""
        x = self._embed(self.src_embedding, src_BS, start=0)
        bias = attention_bias(src_mask_BS, dtype=x.dtype)
        for layer in self.encoder:
            x = layer(x, bias)
        return torch.as_tensor(self.encoder_norm(x))

    def decode(
        self,
        tgt_BT: Tensor,
        memory_BSD: Tensor,
        src_mask_BS: Tensor,
        *,
        caches: list[LayerCache] | None = None,
        start: int = 0,
    ) -> Tensor:
        """Decoder states for target input ids, each seeing those before it. -> [B, T, D].

        With caches, `tgt_BT` holds one new position (T = 1), number `start`.
        """
        x = self._embed(self.tgt_embedding, tgt_BT, start=start)
        cross_bias = attention_bias(src_mask_BS, dtype=x.dtype)
        length = tgt_BT.size(1)
        causal = causal_bias(length, like=x) if caches is None else None
        for index, layer in enumerate(self.decoder):
            cache = None if caches is None else caches[index]
            x = layer(x, memory_BSD, causal, cross_bias, cache)
        return torch.as_tensor(self.decoder_norm(x))

    def forward(self, src_BS: Tensor, src_mask_BS: Tensor, tgt_BT: Tensor) -> Tensor:
        """Logits. -> [B, T, V]."""
        hidden = self.decode(tgt_BT, self.encode(src_BS, src_mask_BS), src_mask_BS)
        return F.linear(hidden, self.output_weight)

    def new_caches(self) -> list[LayerCache]:
        """Empty caches for step-by-step decoding."""
        return [LayerCache() for _ in self.decoder]

    def _embed(self, embedding: nn.Embedding, ids: Tensor, *, start: int) -> Tensor:
        stop = start + ids.size(1)
        if stop > self.config.max_length:
            raise ValueError(f"{stop} positions exceed the model's {self.config.max_length}")
        assert isinstance(self.positions, Tensor)
        scaled = embedding(ids) * math.sqrt(self.config.width)
        return torch.as_tensor(self.dropout(scaled + self.positions[start:stop].to(scaled.dtype)))

    def _initialise(self) -> None:
        """Xavier for matrices, each third of a fused one on its own; embeddings N(0, 1/D)."""
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
    """Self-attention and feed-forward, each normalised before and added after."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = SelfAttention(config)
        self.feedforward_norm = nn.LayerNorm(config.width)
        self.feedforward = FeedForward(config)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """[B, S, D] -> [B, S, D]."""
        x = x + self.dropout(self.attention(self.attention_norm(x), bias, None))
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
        cache: LayerCache | None,
    ) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        x = x + self.dropout(self.attention(self.attention_norm(x), causal, cache))
        x = x + self.dropout(self.cross(self.cross_norm(x), memory, cross_bias, cache))
        return torch.add(x, self.dropout(self.feedforward(self.feedforward_norm(x))))


class SelfAttention(nn.Module):
    """Multi-head attention with one fused projection to queries, keys and values."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, bias: Tensor | None, cache: LayerCache | None) -> Tensor:
        """[B, T, D] -> [B, T, D]; with a cache, T is 1 and the cache grows by one position."""
        query, key, value = split_heads(self.qkv(x), self.heads, parts=3)
        if cache is not None:
            if cache.self_key is not None and cache.self_value is not None:
                key = torch.cat((cache.self_key, key), dim=2)
                value = torch.cat((cache.self_value, value), dim=2)
            cache.self_key, cache.self_value = key, value
        return torch.as_tensor(self.output(attend(query, key, value, bias)))


class CrossAttention(nn.Module):
    """Multi-head attention from target positions to encoder states."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.width, config.width)
        self.key_value = nn.Linear(config.width, 2 * config.width)
        self.output = nn.Linear(config.width, config.width)

    def forward(
        self, x: Tensor, memory: Tensor, bias: Tensor | None, cache: LayerCache | None
    ) -> Tensor:
        """[B, T, D] -> [B, T, D]; with a cache, the source is projected once."""
        (query,) = split_heads(self.query(x), self.heads, parts=1)
        if cache is not None and cache.cross_key is not None and cache.cross_value is not None:
            key, value = cache.cross_key, cache.cross_value
        else:
            key, value = split_heads(self.key_value(memory), self.heads, parts=2)
            if cache is not None:
                cache.cross_key, cache.cross_value = key, value
        return torch.as_tensor(self.output(attend(query, key, value, bias)))


class FeedForward(nn.Module):
    """Two linear maps with a ReLU between."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.width, config.feedforward)
        self.outer = nn.Linear(config.feedforward, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        return torch.as_tensor(self.outer(F.relu(self.inner(x))))


def split_heads(x: Tensor, heads: int, *, parts: int) -> tuple[Tensor, ...]:
    """[B, T, parts·D] -> `parts` tensors [B, H, T, D/H]."""
    batch, length, wide = x.shape
    split = x.view(batch, length, parts, heads, wide // parts // heads)
    return split.permute(2, 0, 3, 1, 4).unbind(0)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Scaled dot-product attention, written out: on short CPU sequences it beats the fused one.

    query [B, H, T, E], key and value [B, H, S, E], bias broadcast to [B, H, T, S]. -> [B, T, H·E].
    """
    batch, heads, length, each = query.shape
    if query.device.type == "cpu":
        scores = torch.matmul(query * each**-0.5, key.transpose(-2, -1))
        if bias is not None:
            scores = scores + bias
        mixed = torch.matmul(scores.softmax(dim=-1), value)
    else:
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return mixed.transpose(1, 2).reshape(batch, length, heads * each)


def attention_bias(mask_BS: Tensor, *, dtype: torch.dtype) -> Tensor | None:
    """0 where a position may be seen, the least finite number elsewhere; None if all may be."""
    if mask_BS.device.type == "cpu" and bool(mask_BS.all()):
        return None
    bias = torch.zeros(mask_BS.shape, dtype=dtype, device=mask_BS.device)
    return bias.masked_fill_(~mask_BS, torch.finfo(dtype).min)[:, None, None, :]


def causal_bias(length: int, *, like: Tensor) -> Tensor:
    """[T, T]: position t sees positions up to t."""
    full = torch.full(
        (length, length), torch.finfo(like.dtype).min, dtype=like.dtype, device=like.device
    )
    return full.triu_(1)


def sinusoids(length: int, *, width: int) -> Tensor:
    """Sinusoidal positions (Vaswani et al. 2017, section 3.5), sines then cosines. -> [L, D]."""
    half = width // 2
    rates = torch.exp(torch.arange(half).float() * (-math.log(10_000) / max(half - 1, 1)))
    angles = torch.arange(length).float()[:, None] * rates[None, :]
    return torch.cat((angles.sin(), angles.cos()), dim=1)
