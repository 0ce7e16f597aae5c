"""Services of models that answer at once: one that shouts, and a nonsense student."""

import pytest
import torch
from shouting_model import Shouting, fetch
from starlette.testclient import TestClient

from kdray.artifacts import Brought
from kdray.config.model import ModelConfig
from kdray.model.storage import Shape, save_model, tensors
from kdray.model.transformer import Transformer
from kdray.serving.app import application
from kdray.serving.models import ServedModel
from kdray.serving.service import Service
from kdray.teacher.own import OwnModels

POSITIONS = 16


@pytest.fixture
def shouting(tmp_path):
    """Makes a model that shouts."""

    def made(name="loud", src="de", tgt="en", **teacher):
        return ServedModel(name, src, tgt, Shouting(**teacher), fetch, tmp_path)

    return made


@pytest.fixture
def client_of():
    """Makes a client of a service of some models, whose application runs until the test ends."""
    opened = []

    def made(*models, **service):
        client = TestClient(
            application(Service(models=models, **service)), raise_server_exceptions=False
        )
        client.__enter__()
        opened.append(client)
        return client

    yield made
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture(scope="session")
def student(toy_tokenizers, tmp_path_factory):
    """A model that was never trained: what it writes is always the same nonsense."""
    torch.manual_seed(1)
    tokenizer, folder = toy_tokenizers["joint"], tmp_path_factory.mktemp("student")
    config = ModelConfig(preset="nano", max_length=POSITIONS)
    sizes = {"src_vocab": tokenizer.src_vocab, "tgt_vocab": tokenizer.tgt_vocab, "shared": True}
    shape = Shape(config=config, tokenizer=tokenizer.checksum, **sizes)
    save_model(folder, shape, tensors(Transformer(config, **sizes)))
    tokenizer.save(folder)
    return folder


@pytest.fixture
def served_student(student, tmp_path):
    model = ServedModel(
        "student", "de", "en", OwnModels((Brought(student, "s"),)), fetch, tmp_path / "student"
    )
    model.prepare()
    return model
