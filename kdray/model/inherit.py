"""Which weights of a teacher a student starts with: those of some layers, perhaps pruned.

Whole layers are what Shleifer & Rush (2020, arXiv 2010.13002) take, "shrink and fine-tune". Widths
are pruned along the axes of Minitron (Muralidharan et al. 2024, arXiv 2407.14679), in structures
whose parts go together: a unit of a feed-forward; in every head as many channels of queries with
keys, and of values with columns of the output; a channel of the residual stream, in all layers.
Minitron ranks by activations on a few batches, as Samragh et al. (2023, arXiv 2312.09299) do. Here
importance is read off the weights, so it needs no data and is the same everywhere: what goes into a
structure times what comes out of it, and of a residual channel what is written into it.

    unit              |row of the inner map| · |column of the outer map|
    query and key     |row of queries| · |row of keys|
    value             |row of values| · |column of the output|
    residual channel  mean square of its embeddings + squares of its rows in all outputs

Rows are measured behind the norm that they read; see `_Map.sizes`.

Rescaling. The model multiplies embeddings by √D and attention by 1/√E. Both are made up for: by
√(D/d) on embeddings, which the last norm takes back for the output that is tied to them, and by
√(e/E) on queries. The gain of all norms grows by √(D/d). If the channels that went were empty, a
norm then gives the others what it gave them in the teacher; if they were like the others, sums over
fewer channels keep their size.

Positions are fixed sinusoids, of other frequencies at every width, that no weight can take in or
out: channel j of the student gets what belongs there. So channels stay in pairs, sine and cosine of
one frequency, and each pair goes where the student's frequency is nearest to its own. Importance
chooses among the pairs that would go to the same place.

Shapes: D width, E of each head, in the teacher; d, e in the student; H heads, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kdray.config.initial import Layers, evenly_spaced
from kdray.config.model import ModelConfig
from kdray.model.attention import CrossAttention, SelfAttention
from kdray.model.transformer import DecoderLayer, EncoderLayer, FeedForward, Transformer

VERSION = 1  # raised when the same teacher gives other weights

Weights = dict[str, Tensor]
Layer = EncoderLayer | DecoderLayer


@torch.no_grad()
def inherit(teacher: Transformer, config: ModelConfig, layers: Layers) -> Weights:
    """Weights for a student of this shape with the teacher's vocabularies, as a state dict.

    The shape is one that `config.initial.chosen_layers` accepts. With the teacher's own shape and
    all its layers, the weights are the teacher's.
    """
    encoder = [_layer(teacher.encoder, number) for number in layers.encoder]
    decoder = [_layer(teacher.decoder, number) for number in layers.decoder]
    importance = residual_importance(teacher, [*encoder, *decoder])
    cut = _Cut(teacher, config, kept=kept_channels(importance, width=config.width))
    state = {
        **_named("tgt_embedding", {"weight": cut.embedding(teacher.tgt_embedding)}),
        **_named("src_embedding", {"weight": cut.embedding(teacher.src_embedding)}),
        **_named("encoder_norm", cut.norm(teacher.encoder_norm)),
        **_named("decoder_norm", cut.last_norm(teacher.decoder_norm)),
    }
    for side, taken in (("encoder", encoder), ("decoder", decoder)):
        for place, layer in enumerate(taken):
            state |= _named(f"{side}.{place}", cut.layer(layer))
    return state


def residual_importance(teacher: Transformer, layers: Sequence[Layer]) -> Tensor:
    """How much embeddings and layers write into each residual channel, in squares. -> [D].

    Embeddings are counted as the model scales them, and what layers mix as if it were white.
    """
    sides = [teacher.tgt_embedding, *([] if teacher.shared else [teacher.src_embedding])]
    squares = [side.weight.double().pow(2).mean(0) for side in sides]
    total = teacher.config.width * torch.stack(squares).mean(0)
    for layer in layers:
        outputs = [layer.attention.output, layer.feedforward.outer]
        if isinstance(layer, DecoderLayer):
            outputs.append(layer.cross.output)
        for output in outputs:
            total = total + output.weight.double().pow(2).sum(1)
    return total


def kept_channels(importance: Tensor, *, width: int) -> Tensor:
    """The residual channels that a student keeps, in its order: sines, then cosines. -> [d].

    The pairs of the teacher whose frequencies are nearest to the same one of the student compete,
    and the most important one stays.
    """
    half = len(importance) // 2
    pairs = (importance[:half] + importance[half:]).tolist()
    best: dict[int, int] = {}
    for pair, place in enumerate(evenly_spaced(half, of=width // 2)):
        if place not in best or pairs[pair] > pairs[best[place]]:
            best[place] = pair
    kept = torch.tensor([best[place] for place in range(width // 2)])
    return torch.cat((kept, half + kept))


class _Map(NamedTuple):
    """A linear map: weight [out, in], bias [out]."""

    weight: Tensor
    bias: Tensor

    def rows(self, index: Tensor) -> "_Map":
        """Some of its outputs."""
        return _Map(self.weight[index], self.bias[index])

    def columns(self, index: Tensor) -> "_Map":
        """The map of some of its inputs."""
        return _Map(self.weight[:, index], self.bias)

    def scaled(self, factor: float) -> "_Map":
        """All outputs times a factor."""
        return _Map(self.weight * factor, self.bias * factor)

    def sizes(self, norm: "_Norm", *, with_constant: bool = True) -> Tensor:
        """Root mean square of each output, if what the norm reads is white. -> [out], float64.

        Without the constant, only of what varies.
        """
        weight = self.weight.double()
        square = (weight * norm.gain.double()).pow(2).sum(1)
        if with_constant:
            square = square + (weight @ norm.shift.double() + self.bias.double()).pow(2)
        return square.sqrt()

    def effects(self) -> Tensor:
        """Size of what each input adds to the outputs. -> [in], float64."""
        return self.weight.double().pow(2).sum(0).sqrt()


class _Norm(NamedTuple):
    """Gain and shift of a norm, [D]."""

    gain: Tensor
    shift: Tensor


@dataclass(frozen=True, slots=True)
class _Cut:
    """Cuts parts of a teacher down to a student's shape. `kept` are its residual channels."""

    teacher: Transformer
    student: ModelConfig
    kept: Tensor

    @property
    def growth(self) -> float:
        """√(D/d)."""
        return math.sqrt(self.teacher.config.width / self.student.width)

    def embedding(self, embedding: nn.Embedding) -> Tensor:
        """[V, D] -> [V, d]."""
        return embedding.weight[:, self.kept] * self.growth

    def norm(self, norm: nn.LayerNorm) -> Weights:
        """A norm whose gain makes up for the channels that are gone."""
        gain, shift = self._norm(norm)
        return {"weight": gain * self.growth, "bias": shift}

    def last_norm(self, norm: nn.LayerNorm) -> Weights:
        """The norm before the output matrix, which has grown with the embedding it is tied to."""
        gain, shift = self._norm(norm)
        return {"weight": gain, "bias": shift / self.growth}

    def layer(self, layer: Layer) -> Weights:
        """All of a layer."""
        state = {
            **_named("attention_norm", self.norm(layer.attention_norm)),
            **_named("attention", self._self_attention(layer.attention, layer.attention_norm)),
            **_named("feedforward_norm", self.norm(layer.feedforward_norm)),
            **_named("feedforward", self._feedforward(layer.feedforward, layer.feedforward_norm)),
        }
        if isinstance(layer, DecoderLayer):
            state |= _named("cross_norm", self.norm(layer.cross_norm))
            state |= _named("cross", self._cross_attention(layer.cross, layer.cross_norm))
        return state

    def _self_attention(self, attention: SelfAttention, norm: nn.LayerNorm) -> Weights:
        query, key, value = self._readers(attention.qkv, parts=3)
        output = self._writer(attention.output)
        own = self._norm(norm)
        query, key, value, output = self._heads(query, key, value, output, own, own)
        return {**_joined("qkv", query, key, value), **_joined("output", output)}

    def _cross_attention(self, attention: CrossAttention, norm: nn.LayerNorm) -> Weights:
        (query,) = self._readers(attention.query, parts=1)
        key, value = self._readers(attention.key_value, parts=2)
        output = self._writer(attention.output)
        own, other = self._norm(norm), self._norm(self.teacher.encoder_norm)
        query, key, value, output = self._heads(query, key, value, output, own, other)
        return {
            **_joined("query", query),
            **_joined("key_value", key, value),
            **_joined("output", output),
        }

    def _heads(
        self, query: _Map, key: _Map, value: _Map, output: _Map, own: _Norm, other: _Norm
    ) -> tuple[_Map, _Map, _Map, _Map]:
        """The same four maps with e channels in each head, of which q and k are scaled for E.

        A constant of the keys moves all logits of a query alike, and so says nothing.
        """
        heads, each = self.student.heads, self.student.width // self.student.heads
        logits = query.sizes(own) * key.sizes(other, with_constant=False)
        matched = _best(logits, groups=heads, count=each)
        mixed = _best(value.sizes(other) * output.effects(), groups=heads, count=each)
        scale = math.sqrt(each * heads / self.teacher.config.width)
        return (
            query.rows(matched).scaled(scale),
            key.rows(matched),
            value.rows(mixed),
            output.columns(mixed),
        )

    def _feedforward(self, feedforward: FeedForward, norm: nn.LayerNorm) -> Weights:
        (inner,) = self._readers(feedforward.inner, parts=1)
        outer = self._writer(feedforward.outer)
        importance = inner.sizes(self._norm(norm)) * outer.effects()
        units = _best(importance, groups=1, count=self.student.feedforward)
        return {**_joined("inner", inner.rows(units)), **_joined("outer", outer.columns(units))}

    def _readers(self, linear: nn.Linear, *, parts: int) -> list[_Map]:
        """Maps fused into one that reads the residual stream, of the channels that are kept."""
        weights, biases = linear.weight.chunk(parts), linear.bias.chunk(parts)
        return [_Map(w, b).columns(self.kept) for w, b in zip(weights, biases, strict=True)]

    def _writer(self, linear: nn.Linear) -> _Map:
        """A map that writes into the residual stream, of the channels that are kept."""
        return _Map(linear.weight, linear.bias).rows(self.kept)

    def _norm(self, norm: nn.LayerNorm) -> _Norm:
        return _Norm(norm.weight[self.kept], norm.bias[self.kept])


def _best(importance: Tensor, *, groups: int, count: int) -> Tensor:
    """Places of the `count` most important of each group, in their order; ties go to the first."""
    grouped = importance.view(groups, -1)
    ranked = grouped.argsort(dim=1, descending=True, stable=True)[:, :count].sort(dim=1).values
    starts = torch.arange(groups)[:, None] * grouped.size(1)
    return (starts + ranked).flatten()


def _joined(name: str, *maps: _Map) -> Weights:
    """Maps fused into one."""
    parts = {"weight": [m.weight for m in maps], "bias": [m.bias for m in maps]}
    return _named(name, {part: torch.cat(values) for part, values in parts.items()})


def _named(name: str, weights: Weights) -> Weights:
    return {f"{name}.{part}": value for part, value in weights.items()}


def _layer(stack: nn.ModuleList, number: int) -> Layer:
    layer = stack[number]
    assert isinstance(layer, EncoderLayer | DecoderLayer)
    return layer
