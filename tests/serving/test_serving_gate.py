"""The gate that the server shows for a sentence is the one that `kdray gate` prints."""

import shutil

import pytest
import torch
from safetensors.torch import save_file

from kdray.artifacts import Brought, write_json
from kdray.config.methods.hybrid import HybridConfig
from kdray.fit.job import METHOD_CONFIG, METHOD_WEIGHTS
from kdray.fit.sentence_gates import GatedStudent
from kdray.methods.build import build_method
from kdray.model.generate import SearchOptions
from kdray.model.storage import load_model, tensors
from kdray.serving.gate import gate_kind, gate_of
from kdray.serving.models import ServedModel
from kdray.teacher.own import OwnModels

SENTENCES = ["ba de fi", "go hu ka le mi", "no"]


def fetch(source):
    return source.path


@pytest.fixture
def hybrid(student, tmp_path):
    """Makes the folder of a student that has learned by a gate, whose weights are random."""

    def made(**gate):
        folder = tmp_path / "hybrid"
        shutil.copytree(student, folder)
        config = HybridConfig(kind="hybrid", gate=gate)
        method = build_method(config, student=load_model(folder))
        torch.manual_seed(3)
        for parameter in method.parameters():
            torch.nn.init.normal_(parameter)
        save_file(tensors(method) or {"": torch.zeros(0)}, folder / METHOD_WEIGHTS)
        write_json(folder / METHOD_CONFIG, config.model_dump(mode="json"))
        return folder

    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    "gate",
    [
        {"kind": "scalar"},
        {"kind": "sentence"},
        {"kind": "sentence", "stabiliser": {"kind": "centred"}},
    ],
    ids=str,
)
def test_a_gate_of_sources_is_the_one_that_is_printed(gate, hybrid, tmp_path):
    folder = hybrid(**gate)
    teacher = OwnModels((Brought(folder, "t"),))
    teacher.prepare(tmp_path / "w", fetch, device="cpu")
    gated = GatedStudent(
        folder, teacher, fetch, work=tmp_path / "w", options=SearchOptions(), updates=9, threads=1
    )
    printed = gated.read([(text, "wox vuz") for text in SENTENCES], place="line")
    shown = gate_of(folder)
    assert shown is not None
    assert [shown.read(text) for text in SENTENCES] == pytest.approx(
        [row.gate for row in printed], abs=1e-6
    )
    assert shown.read("ba " * 40) is None


@pytest.mark.slow
def test_a_gate_that_reads_translations_is_not_shown(hybrid, client_of, tmp_path):
    folder = hybrid(kind="entropy", threshold=0.5)
    assert (gate_kind(folder), gate_of(folder)) == ("entropy", None)
    model = ServedModel("s", "a", "b", OwnModels((Brought(folder, "s"),)), fetch, tmp_path / "w")
    model.prepare()
    client = client_of(model)
    assert client.get("/models").json()["models"][0]["gate"] == "entropy"
    told = client.post("/gate", json={"q": "ba", "model": "s"}).json()
    assert told["gate"] is None
    assert "reads more than the source" in told["why"]


def test_a_student_without_a_gate_has_none(student, shouting, client_of):
    assert (gate_kind(student), gate_of(student)) == (None, None)
    client = client_of(shouting())
    for fields in ({"q": "a", "model": "loud"}, {"q": "a"}, {"q": "a\nb", "model": "loud"}, {}):
        assert client.post("/gate", json=fields).status_code == 400
