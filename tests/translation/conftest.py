"""A model that was never trained: what it writes is nonsense, and always the same nonsense."""

import pytest
import torch

from kdray.config.model import ModelConfig
from kdray.model.storage import Shape, save_model, tensors
from kdray.model.transformer import Transformer

POSITIONS = 16


@pytest.fixture(scope="session")
def nonsense(toy_tokenizers, tmp_path_factory):
    """The folder of the model."""
    torch.manual_seed(1)
    tokenizer, folder = toy_tokenizers["joint"], tmp_path_factory.mktemp("nonsense")
    config = ModelConfig(preset="nano", max_length=POSITIONS)
    sizes = {"src_vocab": tokenizer.src_vocab, "tgt_vocab": tokenizer.tgt_vocab, "shared": True}
    model = Transformer(config, **sizes)
    shape = Shape(config=config, tokenizer=tokenizer.checksum, **sizes)
    save_model(folder, shape, tensors(model))
    tokenizer.save(folder)
    return folder
