"""A model on disk: a folder with `model.json` (shape, vocabularies) and `weights.safetensors`."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

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

    def identity(self) -> dict[str, Any]:
        """What a model of this shape computes depends on: all but the preset's name."""
        dumped = self.model_dump(mode="json")
        dumped["config"].pop("preset")
        return dumped

    def build(self) -> Transformer:
        """A model of this shape with fresh weights."""
        return Transformer(
            self.config, src_vocab=self.src_vocab, tgt_vocab=self.tgt_vocab, shared=self.shared
        )

    def num_params(self) -> int:
        """Parameters of such a model, tied ones counted once; takes no memory for them."""
        return _num_params(self)


@lru_cache  # a report asks for those of each scenario
def _num_params(shape: Shape) -> int:
    with _WithoutMemory():
        return shape.build().num_params()


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
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "the file"
        why = f"{place}: {fault['msg'].removeprefix('Value error, ')}"
        raise DataError(f"{path}: not the description of a kdray model: {why}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not the description of a kdray model: {error}") from None


def load_model(folder: Path) -> Transformer:
    """Read a stored model, in evaluation mode on the CPU.

    Raises:
        DataError: a file is missing or damaged, or the weights are of another shape.
    """
    shape, stored = load_shape(folder), _load(folder / WEIGHTS)
    _check_shape(stored, shape, path=folder / WEIGHTS)
    model = shape.build()
    set_tensors(model, stored)
    return model.eval()


def load_weights(module: nn.Module, path: Path) -> None:
    """Copy stored tensors into a module, in place.

    Raises:
        DataError: the file is missing or damaged, or names or shapes differ.
    """
    stored = _load(path)
    _check_shapes(stored, tensors(module), path=path)
    set_tensors(module, stored)


def check_weights(path: Path, shape: Shape) -> None:
    """Look at stored weights without building the model: names, shapes, kinds of number, values.

    The file is mapped and read once, at the speed of memory; the model is built without memory.

    Raises:
        DataError: the file is missing or damaged, is that of another shape, or holds numbers that
            are not floating point or not finite.
    """
    stored = _load(path)
    _check_shape(stored, shape, path=path)
    for name, value in stored.items():
        if not value.is_floating_point():
            raise DataError(
                f"{path}: {name} holds {str(value.dtype).removeprefix('torch.')}, not floating "
                "point; bring weights as they were trained"
            )
        if not torch.stack(torch.aminmax(value)).isfinite().all():
            raise DataError(
                f"{path}: {name} holds numbers that are not finite; bring the checkpoint of an "
                "update before the training diverged"
            )


class _WithoutMemory(TorchFunctionMode):
    """Makes parameters that have a shape and nothing else.

    PyTorch's device `meta` would do for all tensors, but the first one that is computed or drawn
    there imports sympy, which takes seconds.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 (what PyTorch's function returns)
        given = kwargs or {}
        if getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else given["tensor"]
        if func is torch.empty:
            given = {**given, "device": "meta"}
        return func(*args, **given)


def _check_shape(stored: Mapping[str, Tensor], shape: Shape, *, path: Path) -> None:
    """Compare stored weights with a shape that may ask for terabytes, and take no memory for it."""
    repair = f"; bring weights and {SHAPE} of one model"
    name = "tgt_embedding.weight"  # looked at first: what is computed when a model is made is small
    if name in stored:
        embedding = torch.empty(shape.tgt_vocab, shape.config.width, device="meta")
        _check_shapes({name: stored[name]}, {name: embedding}, path=path, repair=repair)
    with _WithoutMemory():
        own = tensors(shape.build())
    _check_shapes(stored, own, path=path, repair=repair)


def _check_shapes(
    stored: Mapping[str, Tensor], own: Mapping[str, Tensor], *, path: Path, repair: str = ""
) -> None:
    for name in sorted(own.keys() | stored.keys()):
        ours = tuple(own[name].shape) if name in own else "nothing"
        theirs = tuple(stored[name].shape) if name in stored else "nothing"
        if ours != theirs:
            raise DataError(f"{path}: {name} is {theirs} there, the model needs {ours}{repair}")


def _load(path: Path) -> dict[str, Tensor]:
    try:
        stored: dict[str, Tensor] = load_file(path)
    except FileNotFoundError:
        raise DataError(f"{path}: No such file; a model needs it beside its shape") from None
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be read as safetensors: {error}") from None
    return stored


def set_tensors(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Copy values into a module, in place: into each of its `tensors`."""
    for name, own in tensors(module).items():
        own.data.copy_(values[name])
