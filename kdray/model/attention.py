"""Attention of the Transformer: fused projections, a cache for step-by-step decoding.

Shapes: B sentences, S source positions, T target positions, D width, H heads, E channels of a head.
Masks are True where a position is not padding.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdray.config.model import ModelConfig
from kdray.model.precision import widened
from kdray.model.softmax import softmax

Cache = dict[nn.Module, tuple[Tensor, Tensor]]
"""Keys and values, [B, H, positions, E] each, of every attention that step-by-step decoding has
called; empty before the first step."""


def select_rows(cache: Cache, rows: Tensor) -> None:
    """Keep these rows in this order, as a beam search drops and repeats its hypotheses."""
    for attention, (key, value) in cache.items():
        cache[attention] = key.index_select(0, rows), value.index_select(0, rows)


class SelfAttention(nn.Module):
    """Multi-head attention with one fused projection to queries, keys and values."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)

    def forward(
        self, x: Tensor, bias: Tensor | None, cache: Cache | None, maps: list[Tensor] | None
    ) -> Tensor:
        """[B, T, D] -> [B, T, D]; with a cache, T is 1 and the cache grows by one position."""
        query, key, value = split_heads(self.qkv(x), self.heads, parts=3)
        if cache is not None:
            if self in cache:
                keys, values = cache[self]
                key, value = torch.cat((keys, key), dim=2), torch.cat((values, value), dim=2)
            cache[self] = key, value
        return torch.as_tensor(self.output(attend(query, key, value, bias, maps=maps)))


class CrossAttention(nn.Module):
    """Multi-head attention from target positions to encoder states."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.width, config.width)
        self.key_value = nn.Linear(config.width, 2 * config.width)
        self.output = nn.Linear(config.width, config.width)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        bias: Tensor | None,
        cache: Cache | None,
        maps: list[Tensor] | None,
    ) -> Tensor:
        """[B, T, D] -> [B, T, D]; with a cache, the source is projected once."""
        (query,) = split_heads(self.query(x), self.heads, parts=1)
        if cache is not None and self in cache:
            key, value = cache[self]
        else:
            key, value = split_heads(self.key_value(memory), self.heads, parts=2)
            if cache is not None:
                cache[self] = key, value
        return torch.as_tensor(self.output(attend(query, key, value, bias, maps=maps)))


def split_heads(x: Tensor, heads: int, *, parts: int) -> tuple[Tensor, ...]:
    """[B, T, parts·D] -> `parts` tensors [B, H, T, E]."""
    batch, length, wide = x.shape
    split = x.view(batch, length, parts, heads, wide // parts // heads)
    return split.permute(2, 0, 3, 1, 4).unbind(0)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    *,
    maps: list[Tensor] | None = None,
) -> Tensor:
    """Scaled dot-product attention. On a CPU it is not fused, which is faster on short sequences.

    query [B, H, T, E], key and value [B, H, S, E], bias broadcast to [B, H, T, S]. -> [B, T, H·E].
    The mean of the weights over heads is appended to `maps`.
    """
    batch, heads, length, each = query.shape
    if query.device.type == "cpu" or maps is not None:
        scores = torch.matmul(query * each**-0.5, key.transpose(-2, -1))
        if bias is not None:
            scores = scores + bias
        weights = softmax(widened(scores))
        if maps is not None:
            maps.append(weights.mean(1))
        mixed = torch.matmul(weights.to(value.dtype), value)
    else:
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return mixed.transpose(1, 2).reshape(batch, length, heads * each)


def attention_bias(mask_BS: Tensor, *, dtype: torch.dtype) -> Tensor | None:
    """0 where the mask is True, the least finite number elsewhere. -> [B, 1, 1, S].

    None stands for zeros everywhere. A GPU never gets it: to look would make the CPU wait for it.
    """
    if mask_BS.device.type == "cpu" and bool(mask_BS.all()):
        return None
    bias = torch.zeros(mask_BS.shape, dtype=dtype, device=mask_BS.device)
    return bias.masked_fill_(~mask_BS, torch.finfo(dtype).min)[:, None, None, :]


def causal_bias(length: int, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Lets a position see those up to itself: the least finite number elsewhere. -> [T, T]."""
    full = torch.full((length, length), torch.finfo(dtype).min, dtype=dtype, device=device)
    return full.triu_(1)
