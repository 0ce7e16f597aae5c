"""A model of Hugging Face, written once as one of CTranslate2.

The loaders are CTranslate2's own, but for what they get wrong: vocabularies, and what follows from
them (`vocabulary`); Marian's pad, which is removed of each side by its own size; the token that
starts the decoder, which is the model's; and the scale of T5's outputs.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from kdray.artifacts import Fetch, Key, write_json
from kdray.errors import DataError
from kdray.jobs import Counts
from kdray.teacher.huggingface.folder import READ, Origin
from kdray.teacher.huggingface.languages import load_tokenizer
from kdray.teacher.huggingface.loading import load_torch
from kdray.teacher.huggingface.vocabulary import Vocabularies, vocabularies

VERSION = 1
MODEL, TOKENIZER, FACTS = "model", "tokenizer", "facts.json"


@dataclass(frozen=True, slots=True)
class ConversionJob:
    """Convert a model, in float32: what it computes in is chosen when it is loaded."""

    origin: Origin
    is_light: ClassVar[bool] = False
    reads: ClassVar[tuple[Key, ...]] = ()

    @property
    def key(self) -> Key:
        """Of the model."""
        return Key("converted", VERSION, {}, {"huggingface": self.origin.fingerprint})

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """Write the model, the files of its tokenizer, and what an engine has to know. -> counts.

        Raises:
            DataError: a file is missing or damaged, was changed meanwhile, or the model is of an
                unusual form.
            InputError: the hub cannot be reached.
        """
        origin = self.origin.folder()
        model, tokenizer = load_torch(origin), load_tokenizer(origin)
        config = model.config
        pieces = vocabularies(tokenizer, config)
        spec = to_spec(model, tokenizer, pieces)
        (folder / MODEL).mkdir()
        spec.save(str(folder / MODEL))
        (folder / TOKENIZER).mkdir()
        for name in READ:
            for path in origin.glob(name):
                shutil.copyfile(path, folder / TOKENIZER / path.name)
        facts = {
            "model_type": config.model_type,
            "end": config.eos_token_id,
            "never": sorted(pieces.never),
            "unk": pieces.tgt.index(str(tokenizer.unk_token)),
            "src": pieces.src,
            "tgt": pieces.tgt,
        }
        write_json(folder / FACTS, facts)
        self.origin.prove()
        return {"parameters": sum(weight.numel() for weight in model.parameters())}


@torch.no_grad()
def to_spec(model: Any, tokenizer: Any, pieces: Vocabularies) -> Any:  # noqa: ANN401
    """A model as what CTranslate2 writes."""
    loader = _loader(model.config, pieces)
    spec = loader(model, tokenizer)
    spec.validate()
    spec.optimize(quantization=None)
    return spec


def _loader(config: Any, pieces: Vocabularies) -> Any:  # noqa: ANN401
    from ctranslate2.converters import transformers as stock

    bases: dict[str, Any] = {
        "marian": stock.MarianMTLoader,
        "m2m_100": stock.M2M100Loader,
        "mbart": stock.MBartLoader,
        "t5": stock.T5Loader,
        "mt5": stock.MT5Loader,
        "pegasus": stock.PegasusLoader,
    }
    model_type, base = config.model_type, bases[config.model_type]

    class Loader(base):  # type: ignore[misc, valid-type]
        def get_model_spec(self, model: Any) -> Any:  # noqa: ANN401
            """The network as CTranslate2 holds it, with what its loaders take from defaults."""
            if model_type in ("mbart", "pegasus"):  # so are the classes, whatever the file says
                model.config.normalize_before = True
                model.config.normalize_embedding = model_type == "mbart"
            spec = super().get_model_spec(model)
            if model_type in ("t5", "mt5"):
                scaled = getattr(config, "scale_decoder_outputs", False)
                spec.decoder.scale_outputs = config.d_model**-0.5 if scaled else 1.0
            return spec

        def get_vocabulary(self, model: Any, tokenizer: Any) -> list[str]:  # noqa: ANN401
            """The target's pieces; Marian's without the pad, whose row is removed too."""
            return pieces.tgt[: -1 if model_type == "marian" else None]

        def set_vocabulary(self, spec: Any, tokens: list[str]) -> None:  # noqa: ANN401
            """Those of both sides, which Marian's models may have apart."""
            without_pad = pieces.src[: -1 if model_type == "marian" else None]
            spec.register_source_vocabulary(without_pad)
            spec.register_target_vocabulary(tokens)

        def set_config(self, target: Any, model: Any, tokenizer: Any) -> None:  # noqa: ANN401
            """The pieces with which a translation begins and ends, and the unknown one."""
            start = config.decoder_start_token_id
            if model_type == "marian":  # it starts from zeros, whatever this is
                start = config.eos_token_id
            target.bos_token = target.decoder_start_token = pieces.tgt[start]
            target.eos_token = pieces.tgt[config.eos_token_id]
            target.unk_token = str(tokenizer.unk_token)

        def _remove_pad_weights(self, spec: Any) -> None:  # noqa: ANN401
            start = spec.decoder.embeddings.weight[config.decoder_start_token_id]
            if {pieces.src[-1], pieces.tgt[-1]} != {"<pad>"} or bool(start.any()):
                raise DataError(
                    "recipe.teacher: the decoder of a Marian model starts from zeros, and <pad> is "
                    "the last piece of each side; here it is not so, and what it would say is "
                    "not known"
                )
            spec.encoder.embeddings[0].weight = spec.encoder.embeddings[0].weight[:-1]
            spec.decoder.embeddings.weight = spec.decoder.embeddings.weight[:-1]
            projection = spec.decoder.projection
            projection.weight = projection.weight[:-1]
            if projection.has_bias():
                projection.bias = projection.bias[:-1]

    return Loader()
