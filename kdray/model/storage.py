"""A model on disk: a folder with `model.json` (shape, vocabularies) and `weights.safetensors`."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kdray.artifacts import write_json
from kdray.config.base import Frozen
from kdray.config.model import ModelConfig
from kdray.errors import DataError
from kdray.model.transformer import Transformer

SHAPE, WEIGHTS = "model.json", "weights.safetensors"


class Shape(Frozen):
    """What is needed to build a model before its weights are read."""

    config: ModelConfig
    src_vocab: int = Field(ge=1, le=10**7)
    tgt_vocab: int = Field(ge=1, le=10**7)
    shared: bool
    tokenizer: str  # checksum of the tokenizer that the model was trained with

    def build(self) -> Transformer:
        """A model of this shape with fresh weights."""
        return Transformer(
            self.config, src_vocab=self.src_vocab, tgt_vocab=self.tgt_vocab, shared=self.shared
        )


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, each tied tensor once."""
    all_names = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    buffers = {k: v for k, v in module.state_dict().items() if k not in all_names}
    return dict(module.named_parameters()) | buffers


def save_model(folder: Path, shape: Shape, weights: dict[str, Tensor]) -> None:
    """Write a model that `load_model` reads."""
    save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()},
              folder / WEIGHTS)  # fmt: skip
    write_json(folder / SHAPE, shape.model_dump(mode="json"))


def load_shape(folder: Path) -> Shape:
    """Read the shape of a stored model.

    Raises:
        DataError: the folder holds no kdray model.
    """
    path = folder / SHAPE
    try:
        return Shape.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file; a kdray model is a folder with {SHAPE} and {WEIGHTS}"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); name another folder") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not the description of a kdray model: {error}") from None


def load_model(folder: Path) -> Transformer:
    """Read a stored model, in evaluation mode on the CPU.

    Raises:
        DataError: a file is missing or damaged, or the weights are of another shape.
    """
    shape, stored = load_shape(folder), _stored(folder / WEIGHTS)
    with torch.device("meta"):  # takes no memory, whatever shape the file claims
        _check_shapes(shape.build(), stored, folder / WEIGHTS)
    model = shape.build()
    set_tensors(model, stored)
    return model.eval()


def load_weights(module: nn.Module, path: Path) -> None:
    """Copy stored tensors into a module, in place.

    Raises:
        DataError: the file is missing or damaged, or names or shapes differ.
    """
    stored = _stored(path)
    _check_shapes(module, stored, path)
    set_tensors(module, stored)


def _stored(path: Path) -> Mapping[str, Tensor]:
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be read as safetensors: {error}") from None


def _check_shapes(module: nn.Module, stored: Mapping[str, Tensor], path: Path) -> None:
    own = tensors(module)
    for name in sorted(own.keys() | stored.keys()):
        ours = tuple(own[name].shape) if name in own else "nothing"
        theirs = tuple(stored[name].shape) if name in stored else "nothing"
        if ours != theirs:
            raise DataError(f"{path}: {name} is {theirs} there, the model needs {ours}")


def set_tensors(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Copy values into a module, in place: into each of its `tensors`."""
    for name, own in tensors(module).items():
        own.data.copy_(values[name])
