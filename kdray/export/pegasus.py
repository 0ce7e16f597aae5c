"""A kdray model as a folder of Hugging Face: `PegasusForConditionalGeneration`, and a tokenizer.

Of all classes there, Pegasus alone has the same architecture: norms before each part and at the
end, sinusoidal positions that are stored, one matrix for source, target and output. So a model with
a vocabulary for each side has no such form.
"""

import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from kdray.errors import ConfigError, DataError
from kdray.model.storage import load_model, load_shape
from kdray.model.transformer import DecoderLayer, Transformer
from kdray.text.tokenizer import BOS, EOS, PAD, UNK, Tokenizer

EXTRA = "pip install 'kdray[huggingface]'"


def write_pegasus(student: Path, folder: Path) -> Mapping[str, Any]:
    """Write the model, its configuration and its tokenizer into a folder. -> counts.

    The tokenizer is written as kdray reads it, too, so that the folder can be a teacher whose
    vocabulary students share.

    Raises:
        DataError: the model has a vocabulary for each side.
        ConfigError: a package of the extra is not installed.
    """
    check_pegasus(student)
    model, tokenizer = load_model(student), Tokenizer.load(student)
    weights = {name: value.detach().cpu().contiguous() for name, value in tensors_of(model)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for name, content in configurations(model).items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    write_tokenizer(tokenizer, folder, positions=model.config.max_length)
    tokenizer.save(folder)
    return {"parameters": model.num_params()}


def check_pegasus(student: Path) -> None:
    """Refuse a model that has no such form.

    Raises:
        DataError: the model has a vocabulary for each side.
        ConfigError: a package of the extra is not installed.
    """
    if not (Tokenizer.load(student).joint and load_shape(student).shared):
        raise DataError(
            f"{student}: has a vocabulary for each side, and no class of Hugging Face with norms "
            "before each part has that; write it as ctranslate2, or train with a joint tokenizer"
        )
    for package in ("tokenizers", "transformers"):
        if find_spec(package) is None:
            raise missing_extra(package)


def missing_extra(package: str | None) -> ConfigError:
    """The error that says which package has to be installed."""
    return ConfigError(
        f"the form of Hugging Face needs the package {package}, which is not installed; run: "
        f"{EXTRA}"
    )


def configurations(model: Transformer) -> Mapping[str, Mapping[str, Any]]:
    """What `config.json` and `generation_config.json` say."""
    config = model.config
    ids = {
        "pad_token_id": PAD,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "decoder_start_token_id": BOS,
        "forced_eos_token_id": None,
    }
    shape = {
        "architectures": ["PegasusForConditionalGeneration"],
        "model_type": "pegasus",
        "vocab_size": model.tgt_vocab,
        "d_model": config.width,
        "encoder_layers": config.encoder_layers,
        "decoder_layers": config.decoder_layers,
        "encoder_attention_heads": config.heads,
        "decoder_attention_heads": config.heads,
        "encoder_ffn_dim": config.feedforward,
        "decoder_ffn_dim": config.feedforward,
        "max_position_embeddings": config.max_length,
        "activation_function": "relu",
        "scale_embedding": True,
        "dropout": config.dropout,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "is_encoder_decoder": True,
        "tie_word_embeddings": True,
        "normalize_before": True,  # read by converters, which know Pegasus as a BART
        "normalize_embedding": False,
        "dtype": "float32",
    }
    never = [[PAD], [UNK], [BOS]]
    search = {"max_length": config.max_length, "num_beams": 4, "bad_words_ids": never}
    return {"config.json": {**shape, **ids}, "generation_config.json": {**search, **ids}}


def tensors_of(model: Transformer) -> Iterator[tuple[str, Tensor]]:
    """The weights of a model by their names in Pegasus."""
    assert isinstance(model.positions, Tensor)
    yield "model.shared.weight", model.tgt_embedding.weight
    yield "final_logits_bias", model.tgt_embedding.weight.new_zeros(1, model.tgt_vocab)
    for side, layers, norm in (
        ("encoder", model.encoder, model.encoder_norm),
        ("decoder", model.decoder, model.decoder_norm),
    ):
        yield f"model.{side}.embed_positions.weight", model.positions.clone()
        yield from _both(f"model.{side}.layer_norm", norm)
        for number, layer in enumerate(layers):
            yield from _layer(f"model.{side}.layers.{number}", layer)


def _layer(place: str, layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    parts: Any = layer
    yield from _both(f"{place}.self_attn_layer_norm", parts.attention_norm)
    yield from _attention(f"{place}.self_attn", parts.attention.qkv, parts.attention.output)
    if isinstance(layer, DecoderLayer):
        cross = layer.cross
        yield from _both(f"{place}.encoder_attn_layer_norm", layer.cross_norm)
        yield from _attention(f"{place}.encoder_attn", cross.query, cross.key_value, cross.output)
    yield from _both(f"{place}.final_layer_norm", parts.feedforward_norm)
    yield from _both(f"{place}.fc1", parts.feedforward.inner)
    yield from _both(f"{place}.fc2", parts.feedforward.outer)


def _attention(place: str, *maps: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Query, key and value, which are fused here, and the output."""
    *fused, output = maps
    parts: list[list[Tensor]] = [[], []]
    for each in fused:
        for kind, values in zip(parts, _both("", each), strict=True):
            width = values[1].size(0)
            pieces = max(1, width // _width(output))
            kind.extend(values[1].chunk(pieces))
    for name, weight, bias in zip(("q_proj", "k_proj", "v_proj"), *parts, strict=True):
        yield f"{place}.{name}.weight", weight.clone()
        yield f"{place}.{name}.bias", bias.clone()
    yield from _both(f"{place}.out_proj", output)


def _width(module: nn.Module) -> int:
    assert isinstance(module, nn.Linear)
    return module.out_features


def _both(place: str, module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Weight and bias of a linear map or a norm."""
    assert isinstance(module, nn.Linear | nn.LayerNorm)
    yield f"{place}.weight", module.weight
    yield f"{place}.bias", module.bias


def write_tokenizer(tokenizer: Tokenizer, folder: Path, *, positions: int) -> None:
    """Write a fast tokenizer with the same ids, as `AutoTokenizer` loads it.

    Where text holds the names of special pieces, such as `</s>`, it makes those of them.

    Raises:
        ConfigError: a package of the extra is not installed.
    """
    try:
        from tokenizers import processors
        from transformers import PreTrainedTokenizerFast
        from transformers.convert_slow_tokenizer import SpmConverter, import_protobuf
    except ImportError as error:
        raise missing_extra(error.name) from None
    proto = import_protobuf().ModelProto.FromString(tokenizer.src.serialized_model_proto())
    scores = [(piece.piece, piece.score) for piece in proto.pieces]
    is_bpe = proto.trainer_spec.model_type == 2
    vocabulary: Any = {piece: i for i, (piece, _) in enumerate(scores)} if is_bpe else scores
    fast = SpmConverter.build_tokenizer_from_spm_proto(proto, vocabulary)
    fast.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", EOS)]
    )
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(
        tokenizer_object=fast,
        model_max_length=positions,
        clean_up_tokenization_spaces=False,
        **names,
    ).save_pretrained(str(folder))
