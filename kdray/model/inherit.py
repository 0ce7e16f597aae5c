"""Which weights of a teacher a student starts with: those of some layers, perhaps pruned.

To take whole layers is "shrink and fine-tune" (Shleifer & Rush 2020, arXiv 2010.13002). Widths are
pruned along the axes of Minitron (Muralidharan et al. 2024, arXiv 2407.14679), in structures whose
parts are removed together: a unit of a feed-forward; a channel of queries and keys, or of values
and the output's columns, equally many in every head; a channel of the residual stream, in all
layers. Minitron ranks by activations on a few batches, as Samragh et al. (2023, arXiv 2312.09299)
do. Here importance is computed from the weights, which needs no data: the size of the weights into
a structure times that of the weights out of it, and for a residual channel the size of what is
written into it.

    unit              |row of the inner map| · |column of the outer map|
    query and key     |row of queries| · |row of keys|
    value             |row of values| · |column of the output|
    residual channel  mean square of its embeddings + squares of its rows in all outputs

Rows are measured together with the norm whose output they read; see `_Map.sizes`.

Rescaling. A model multiplies embeddings by √D and attention logits by 1/√E, so both would change
with the width. Embeddings are therefore multiplied by √(D/d), which the last norm undoes for the
output matrix that is tied to them, and queries by √(e/E). The gain of every norm is multiplied by
√(D/d): if the removed channels are empty, the norm then gives the others the values that they had
in the teacher; if the removed channels are like the others, sums over fewer channels keep their
size.

Positions are fixed sinusoids, whose frequencies depend on the width. They are not weights, so they
are not inherited: channel j of the student has the frequency of its place. So channels are kept
in pairs, the sine and cosine of one frequency, and each pair goes to the place whose frequency is
nearest to its own. Of several pairs that would go to one place, the most important one is kept.

Shapes: D width, E channels of a head, in the teacher; d, e in the student; H heads, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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
    encoder: list[Any] = [teacher.encoder[number] for number in layers.encoder]
    decoder: list[Any] = [teacher.decoder[number] for number in layers.decoder]
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
    """Mean square of what embeddings and layers write into each residual channel. -> [D].

    Embeddings are taken with the factor √D of the model. The inputs of a layer's output maps are
    taken to be white: uncorrelated, with variance 1.
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
    """The teacher's residual channels that a student keeps: those of sines, then cosines. -> [d].

    Of the pairs whose frequencies are nearest to the same one of the student, the most important
    one is kept.
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
        """The map to some of its outputs."""
        return _Map(self.weight[index], self.bias[index])

    def columns(self, index: Tensor) -> "_Map":
        """The map from some of its inputs."""
        return _Map(self.weight[:, index], self.bias)

    def scaled(self, factor: float) -> "_Map":
        """All outputs times a factor."""
        return _Map(self.weight * factor, self.bias * factor)

    def sizes(self, norm: "_Norm", *, with_constant: bool = True) -> Tensor:
        """Root mean square of each output, if the norm gets white noise. -> [out], float64.

        Without the constant, it is the standard deviation.
        """
        weight = self.weight.double()
        square = (weight * norm.gain.double()).pow(2).sum(1)
        if with_constant:
            square = square + (weight @ norm.shift.double() + self.bias.double()).pow(2)
        return square.sqrt()

    def effects(self) -> Tensor:
        """L2 norm of what each input adds to the outputs. -> [in], float64."""
        return self.weight.double().pow(2).sum(0).sqrt()


class _Norm(NamedTuple):
    """Gain and shift of a norm, [D]."""

    gain: Tensor
    shift: Tensor


@dataclass(frozen=True, slots=True)
class _Cut:
    """Cuts parts of a teacher down to a student's shape. `kept`: residual channels, [d]."""

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
        """A norm whose gain makes up for the removed channels."""
        gain, shift = self._norm(norm)
        return {"weight": gain * self.growth, "bias": shift}

    def last_norm(self, norm: nn.LayerNorm) -> Weights:
        """The norm before the output matrix, which is tied to embeddings that were multiplied."""
        gain, shift = self._norm(norm)
        return {"weight": gain, "bias": shift / self.growth}

    def layer(self, layer: Layer) -> Weights:
        """All weights of a layer."""
        state = {
            **_named("attention_norm", self.norm(layer.attention_norm)),
            **_named("attention", self._attention(layer.attention, layer.attention_norm)),
            **_named("feedforward_norm", self.norm(layer.feedforward_norm)),
            **_named("feedforward", self._feedforward(layer.feedforward, layer.feedforward_norm)),
        }
        if isinstance(layer, DecoderLayer):
            state |= _named("cross_norm", self.norm(layer.cross_norm))
            state |= _named("cross", self._attention(layer.cross, layer.cross_norm))
        return state

    def _attention(self, attention: SelfAttention | CrossAttention, norm: nn.LayerNorm) -> Weights:
        """With e channels in each head; queries are multiplied by √(e/E).

        The constant part of keys shifts all logits of a query equally, so it has no effect and
        does not count.
        """
        before_queries = before_keys = self._norm(norm)
        if isinstance(attention, SelfAttention):
            query, key, value = self._readers(attention.qkv, parts=3)
        else:
            (query,) = self._readers(attention.query, parts=1)
            key, value = self._readers(attention.key_value, parts=2)
            before_keys = self._norm(self.teacher.encoder_norm)
        output = self._writer(attention.output)
        heads, each = self.student.heads, self.student.width // self.student.heads
        logits = query.sizes(before_queries) * key.sizes(before_keys, with_constant=False)
        matched = _best(logits, groups=heads, count=each)
        mixed = _best(value.sizes(before_keys) * output.effects(), groups=heads, count=each)
        query = query.rows(matched).scaled(math.sqrt(each * heads / self.teacher.config.width))
        key, value, output = key.rows(matched), value.rows(mixed), output.columns(mixed)
        if isinstance(attention, SelfAttention):
            return {**_joined("qkv", query, key, value), **_joined("output", output)}
        readers = {**_joined("query", query), **_joined("key_value", key, value)}
        return {**readers, **_joined("output", output)}

    def _feedforward(self, feedforward: FeedForward, norm: nn.LayerNorm) -> Weights:
        (inner,) = self._readers(feedforward.inner, parts=1)
        outer = self._writer(feedforward.outer)
        importance = inner.sizes(self._norm(norm)) * outer.effects()
        units = _best(importance, groups=1, count=self.student.feedforward)
        return {**_joined("inner", inner.rows(units)), **_joined("outer", outer.columns(units))}

    def _readers(self, linear: nn.Linear, *, parts: int) -> list[_Map]:
        """The parts of a fused map from the residual stream, as maps from the kept channels."""
        weights, biases = linear.weight.chunk(parts), linear.bias.chunk(parts)
        return [_Map(w, b).columns(self.kept) for w, b in zip(weights, biases, strict=True)]

    def _writer(self, linear: nn.Linear) -> _Map:
        """A map into the residual stream, as a map to the kept channels."""
        return _Map(linear.weight, linear.bias).rows(self.kept)

    def _norm(self, norm: nn.LayerNorm) -> _Norm:
        return _Norm(norm.weight[self.kept], norm.bias[self.kept])


def _best(importance: Tensor, *, groups: int, count: int) -> Tensor:
    """Ascending places of the `count` most important of each group; ties go to the first."""
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
