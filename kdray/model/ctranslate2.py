"""The CTranslate2 form of a model: exported once, it decodes several times faster than PyTorch.

CTranslate2 imports all of transformers where that is installed, which takes seconds. So it is
imported where it works, and not by those that only plan.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from kdray.model.generate import Hypothesis, SearchOptions
from kdray.model.memory import tokens_per_batch
from kdray.model.transformer import DecoderLayer, Transformer
from kdray.text.tokenizer import BOS, EOS, PAD, UNK, Tokenizer

NEVER = -1e9  # the bias of a piece that is not written

if TYPE_CHECKING:
    from ctranslate2.specs.attention_spec import MultiHeadAttentionSpec
    from ctranslate2.specs.common_spec import LayerNormSpec, LinearSpec


def export(
    model: Transformer,
    tokenizer: Tokenizer,
    folder: Path,
    *,
    quantization: str | None = None,
    for_strangers: bool = False,
) -> None:
    """Write a CTranslate2 model, in float32 or with weights quantised in CTranslate2's way.

    One `for_strangers` is whole in itself: sources are given to it without `</s>`, and it never
    writes a piece that is no text, of which else the options of the search take care.
    """
    from ctranslate2.specs import common_spec, transformer_spec

    config = model.config
    spec = transformer_spec.TransformerSpec.from_config(
        (config.encoder_layers, config.decoder_layers),
        config.heads,
        pre_norm=True,
        activation=common_spec.Activation.RELU,
    )
    spec.config.layer_norm_epsilon = model.encoder_norm.eps
    spec.config.decoder_start_token = "<s>"
    spec.config.add_source_eos = for_strangers  # our own source ids end with </s> already
    assert isinstance(model.positions, Tensor)
    tgt_weight = _array(model.tgt_embedding.weight)
    src_weight = tgt_weight if model.shared else _array(model.src_embedding.weight)
    for side, embeddings, weight, norm, layers in (
        (spec.encoder, spec.encoder.embeddings[0], src_weight, model.encoder_norm, model.encoder),
        (spec.decoder, spec.decoder.embeddings, tgt_weight, model.decoder_norm, model.decoder),
    ):
        embeddings.weight = weight
        side.scale_embeddings = True
        side.position_encodings.encodings = _array(model.positions)
        _layer_norm(side.layer_norm, norm)
        for target, layer in zip(side.layer, layers, strict=True):
            _layer(target, layer)
    spec.decoder.projection.weight = tgt_weight
    if for_strangers:
        bias = np.zeros(model.tgt_vocab, dtype=np.float32)
        bias[[PAD, UNK, BOS]] = NEVER
        spec.decoder.projection.bias = bias
    spec.register_source_vocabulary(tokenizer.src_pieces())
    spec.register_target_vocabulary(tokenizer.tgt_pieces())
    spec.validate()
    spec.optimize(quantization=quantization)
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))


class FastTranslator:
    """Translates ids to ids with an exported model; each thread translates batches of its own.

    Args:
        folder: where the model was exported to.
        tokenizer: of the model.
        positions: most tokens of a sequence.
        threads: how many.
        compute_type: CTranslate2's name of the numbers that it computes with.
    """

    def __init__(
        self,
        folder: Path,
        tokenizer: Tokenizer,
        *,
        positions: int,
        threads: int,
        compute_type: str = "float32",
    ) -> None:
        import ctranslate2

        before = torch.get_num_threads()
        self.translator = ctranslate2.Translator(
            str(folder), inter_threads=threads, intra_threads=1, compute_type=compute_type
        )
        # CTranslate2 sets OpenMP's number for the thread that calls it, which is PyTorch's too.
        # A training that validates would go on with one thread, and so with other last bits.
        torch.set_num_threads(before)
        self.src_pieces, self.positions = tokenizer.src_pieces(), positions
        self.tgt_pieces = tokenizer.tgt_pieces()
        self.tgt_ids = {piece: i for i, piece in enumerate(self.tgt_pieces)}

    def translate(
        self,
        src: Sequence[Sequence[int]],
        options: SearchOptions,
        *,
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> list[list[Hypothesis]]:
        """The best `num_hyps` translations of each source, best first, in the order given.

        Each begins with the tokens of its prefix, fewer than the model has positions.
        """
        given = [[] for _ in src] if prefixes is None else prefixes
        by_length: dict[tuple[int, int], list[int]] = {}
        for row, (ids, prefix) in enumerate(zip(src, given, strict=True)):
            by_length.setdefault((len(ids), len(prefix)), []).append(row)
        queued = [
            (rows, self._submit([src[row] for row in rows], [given[row] for row in rows], options))
            for _, rows in sorted(by_length.items())
        ]
        results: list[list[Hypothesis]] = [[] for _ in src]
        for rows, futures in queued:
            for row, future in zip(rows, futures, strict=True):
                results[row] = self._hypotheses(future.result(), options.length_penalty)
        return results

    def _submit(
        self, src: list[Sequence[int]], given: list[Sequence[int]], options: SearchOptions
    ) -> list[Any]:
        """Queue sources, and prefixes, of equal length: a call has one length limit for all."""
        prefixes = [[self.tgt_pieces[i] for i in ids] for ids in given]
        futures: list[Any] = self.translator.translate_batch(
            [[self.src_pieces[i] for i in ids] for ids in src],
            target_prefix=prefixes if given[0] else None,
            beam_size=options.beam,
            num_hypotheses=options.num_hyps,
            length_penalty=options.length_penalty,
            max_batch_size=tokens_per_batch(),
            batch_type="tokens",
            max_decoding_length=options.max_length(
                len(src[0]), positions=self.positions, given=len(given[0])
            ),
            max_input_length=0,
            no_repeat_ngram_size=options.no_repeat_ngram,
            suppress_sequences=[["<pad>"], ["<s>"]],
            disable_unk=True,
            return_scores=True,
            return_end_token=True,
            asynchronous=True,
        )
        return futures

    def _hypotheses(self, output: Any, penalty: float) -> list[Hypothesis]:  # noqa: ANN401
        hyps = []
        for pieces, score in zip(output.hypotheses, output.scores, strict=True):
            ids = [self.tgt_ids[piece] for piece in pieces]
            total = score * max(len(ids), 1) ** penalty
            hyps.append(Hypothesis(ids, total, finished=bool(ids) and ids[-1] == EOS))
        return hyps


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().cpu().float().numpy()


def _layer_norm(spec: "LayerNormSpec", norm: nn.LayerNorm) -> None:
    spec.gamma, spec.beta = _array(norm.weight), _array(norm.bias)


def _layer(spec: Any, layer: Any) -> None:  # noqa: ANN401
    """Self-attention, attention over the source if there is one, and feed-forward."""
    own, feedforward = layer.attention, layer.feedforward
    _attention(spec.self_attention, layer.attention_norm, own.qkv, own.output)
    if isinstance(layer, DecoderLayer):
        cross = layer.cross
        _attention(spec.attention, layer.cross_norm, cross.query, cross.key_value, cross.output)
    _layer_norm(spec.ffn.layer_norm, layer.feedforward_norm)
    _linear(spec.ffn.linear_0, feedforward.inner)
    _linear(spec.ffn.linear_1, feedforward.outer)


def _attention(spec: "MultiHeadAttentionSpec", norm: nn.LayerNorm, *maps: nn.Linear) -> None:
    _layer_norm(spec.layer_norm, norm)
    for target, linear in zip(spec.linear, maps, strict=True):
        _linear(target, linear)


def _linear(spec: "LinearSpec", linear: nn.Linear) -> None:
    spec.weight, spec.bias = _array(linear.weight), _array(linear.bias)
