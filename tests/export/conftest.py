"""A trained student in a folder, and one with a vocabulary for each side."""

import shutil

import pytest
from trained_translators import all_translators

from kdray.artifacts import write_json
from kdray.config.model import ModelConfig
from kdray.model.storage import SHAPE, WEIGHTS, Shape, load_shape, save_model, tensors

__all__ = ["all_translators"]


@pytest.fixture(scope="session")
def students(all_translators, toy_tokenizers, shared_folder, tmp_path_factory):
    """Folders of students by the names of their tokenizers."""

    def student(name):
        all_translators(name)
        tokenizer, folder = toy_tokenizers[name], tmp_path_factory.mktemp(name) / "student"
        folder.mkdir()
        trained = shared_folder / f"translator-{name}"
        shutil.copy(trained / WEIGHTS, folder)
        shape = load_shape(trained).model_copy(update={"tokenizer": tokenizer.checksum})
        write_json(folder / SHAPE, shape.model_dump(mode="json"))
        tokenizer.save(folder)
        return folder

    return {name: student(name) for name in ("joint", "separate")}


@pytest.fixture(scope="session")
def untrained(toy_tokenizers, tmp_path_factory):
    """Folders of models with random weights, by the names of their tokenizers."""
    folders = {}
    for name, tokenizer in toy_tokenizers.items():
        folders[name] = folder = tmp_path_factory.mktemp(f"untrained-{name}")
        shape = Shape(
            config=ModelConfig(preset="nano"),
            src_vocab=tokenizer.src_vocab,
            tgt_vocab=tokenizer.tgt_vocab,
            shared=tokenizer.joint,
            tokenizer=tokenizer.checksum,
        )
        save_model(folder, shape, tensors(shape.build()))
        tokenizer.save(folder)
    return folders
