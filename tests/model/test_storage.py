"""A stored model comes back bit for bit, or an error names the file and its fault."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from kdray.config.gates import CentredConfig
from kdray.config.model import ModelConfig
from kdray.errors import DataError
from kdray.methods.stabilisers import Centred
from kdray.model.storage import (
    SHAPE,
    WEIGHTS,
    Shape,
    load_model,
    load_shape,
    load_weights,
    save_model,
    tensors,
)


def shape(shared):
    config = ModelConfig(preset="nano", max_length=24)
    return Shape(
        config=config,
        src_vocab=12,
        tgt_vocab=12 if shared else 9,
        shared=shared,
        tokenizer="0123-4567",
    )


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(1)
    save_model(tmp_path, shape(True), tensors(shape(True).build()))
    return tmp_path


@pytest.mark.parametrize("shared", [True, False])
def test_round_trip_is_bit_equal(tmp_path, shared):
    model = shape(shared).build()
    save_model(tmp_path, shape(shared), tensors(model))
    loaded = load_model(tmp_path)
    assert load_shape(tmp_path) == shape(shared)
    assert not loaded.training
    assert loaded.num_params() == model.num_params()
    assert (loaded.src_embedding is loaded.tgt_embedding) == shared
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_a_tied_tensor_is_stored_once(folder):
    names = load_file(folder / WEIGHTS).keys()
    assert [name for name in names if "embedding" in name] == ["tgt_embedding.weight"]


def test_buffers_are_stored_with_the_parameters(tmp_path):
    gate = nn.ModuleList([nn.Linear(4, 1), Centred(CentredConfig(kind="centred"), 0.5)])
    gate[1].after_update({"loss/token": 1.0, "loss/sentence": 2.0})
    assert set(tensors(gate)) == {"0.weight", "0.bias", "1.token_mean", "1.sentence_mean"}
    save_file(tensors(gate), tmp_path / WEIGHTS)
    other = nn.ModuleList([nn.Linear(4, 1), Centred(CentredConfig(kind="centred"), 0.5)])
    load_weights(other, tmp_path / WEIGHTS)
    assert float(other[1].sentence_mean) == 2.0


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(DataError, match=rf"{tmp_path}.*no such file.*{SHAPE} and {WEIGHTS}"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"config": {}, "src_vocab": 5}', "\udcff"], ids=repr
)
def test_a_damaged_description_is_named(folder, text):
    (folder / SHAPE).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=rf"{folder / SHAPE}: not the description"):
        load_model(folder)


def test_an_unknown_field_is_refused(folder):
    content = json.loads((folder / SHAPE).read_text())
    (folder / SHAPE).write_text(json.dumps({**content, "layers": 3}))
    with pytest.raises(DataError, match="layers"):
        load_shape(folder)


def test_missing_weights_are_named(folder):
    (folder / WEIGHTS).unlink()
    with pytest.raises(DataError, match=rf"{folder / WEIGHTS}: No such file; a model needs it"):
        load_model(folder)


@pytest.mark.parametrize("size", [0, 5, 200, -1])
def test_cut_weights_are_named(folder, size):
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:size])
    with pytest.raises(DataError, match=rf"{folder / WEIGHTS}: cannot be read as safetensors"):
        load_model(folder)


def test_other_shapes_are_named_with_both(folder):
    content = json.loads((folder / SHAPE).read_text())
    (folder / SHAPE).write_text(json.dumps({**content, "src_vocab": 15, "tgt_vocab": 15}))
    with pytest.raises(
        DataError, match=r"tgt_embedding.weight is \(12, 32\) there, the model needs \(15, 32\)"
    ):
        load_model(folder)


def test_a_missing_and_a_superfluous_tensor_are_named(folder):
    weights = load_file(folder / WEIGHTS)
    missing = weights.pop("decoder_norm.bias")
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(DataError, match=r"decoder_norm.bias is nothing there, .* needs \(32,\)"):
        load_model(folder)
    save_file({**weights, "decoder_norm.bias": missing, "extra": missing.clone()}, folder / WEIGHTS)
    with pytest.raises(DataError, match=r"extra is \(32,\) there, the model needs nothing"):
        load_model(folder)


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a model file was unpickled",)


@pytest.mark.parametrize("dump", [pickle.dump, torch.save], ids=["pickle", "torch"])
def test_a_pickle_is_never_opened(folder, dump):
    with (folder / WEIGHTS).open("wb") as file:
        dump(Bomb(), file)
    with pytest.raises(DataError, match="cannot be read as safetensors"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"config": {"width": 2**21}}, "has 5.3e+13 weights"),
        ({"config": {"encoder_layers": 10**9}}, "less than or equal to 1000"),
        ({"config": {"width": 32768}}, "is (12, 32) there, the model needs (12, 32768)"),
        ({"src_vocab": 10**12}, "less than or equal to 10000000"),
        ({"src_vocab": 10**7, "tgt_vocab": 10**7}, "the model needs (10000000, 32)"),
    ],
)
def test_a_shape_that_asks_for_terabytes_takes_no_memory(folder, changed, words):
    path = folder / SHAPE
    given = json.loads(path.read_text())
    given = given | changed | {"config": given["config"] | changed.get("config", {})}
    path.write_text(json.dumps(given))
    with pytest.raises(DataError) as refused:
        load_model(folder)
    assert str(refused.value).startswith(str(folder))
    assert words in str(refused.value)


def test_a_folder_that_leads_to_itself_holds_no_model(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(DataError, match=r"model\.json: cannot be read \(Too many levels"):
        load_model(loop)


def test_a_shape_that_is_nested_without_end_is_none(folder):
    (folder / SHAPE).write_text("[" * 100_000)
    with pytest.raises(DataError, match="not the description of a kdray model"):
        load_model(folder)
