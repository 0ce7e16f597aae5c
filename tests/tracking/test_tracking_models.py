"""A student in MLflow translates as kdray does, in a process that has nothing of kdray."""

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from tracking_probe import curve, row, start

from kdray.config.model import ModelConfig
from kdray.model.ctranslate2 import FastTranslator, export
from kdray.model.generate import SearchOptions
from kdray.model.transformer import Transformer
from kdray.text.tokenizer import Tokenizer
from kdray.tracking import Tracker

pytestmark = pytest.mark.slow

OPTIONS = SearchOptions(beam=3, length_penalty=0.6)
POSITIONS = 24
LOAD = """
import json, sys
class Absent:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in ("kdray", "torch", "ray"):
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
import mlflow
uri, model, texts = sys.argv[1:]
mlflow.set_tracking_uri(uri)
print(json.dumps(mlflow.pyfunc.load_model(model).predict(json.loads(texts))))
"""


@pytest.fixture(params=["joint", "separate"])
def kept(
    request: pytest.FixtureRequest, toy_tokenizers: dict[str, Tokenizer], tmp_path: Path
) -> Path:
    """A student as the tracker is given it.

    Its weights are random, and so large that no two words are about equally likely.
    """
    tokenizer, folder = toy_tokenizers[request.param], tmp_path / "student"
    torch.manual_seed(1)
    model = Transformer(
        ModelConfig(preset="nano", max_length=POSITIONS),
        src_vocab=tokenizer.src_vocab,
        tgt_vocab=tokenizer.tgt_vocab,
        shared=tokenizer.joint,
    )
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(2.0)
    export(model, tokenizer, folder / "model")
    tokenizer.save(folder)
    names = ("beam", "length_penalty", "max_length_ratio", "max_length_slack")
    how = {name: getattr(OPTIONS, name) for name in names} | {"positions": POSITIONS}
    (folder / "decoding.json").write_text(json.dumps(how))
    return folder


def copied(kept: Path, folder: Path) -> None:
    shutil.copytree(kept, folder, dirs_exist_ok=True)


def load(storage: Path, model: str, texts: list[str]) -> subprocess.CompletedProcess[str]:
    uri = f"sqlite:///{storage / 'mlflow.db'}"
    return subprocess.run(
        [sys.executable, "-I", "-c", LOAD, uri, model, json.dumps(texts)],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def test_a_kept_student_translates_as_it_did(
    tracker: Tracker,
    client: MlflowClient,
    storage: Path,
    kept: Path,
    toy_pairs: list[tuple[str, str]],
) -> None:
    texts = [src for src, _ in toy_pairs[:20]]
    run_id = start(tracker)
    tracker.log_history(run_id, [row(10)])
    tracker.log_scores(run_id, {"test/flickr/bleu": 33.0})
    tracker.finish(run_id, "FINISHED", ended=1_700_000_100.0)
    tracker.log_model(run_id, partial(copied, kept), example=texts[:2], register_as=None)

    run = client.get_run(run_id)
    assert (run.info.status, run.info.end_time) == ("FINISHED", 1_700_000_100_000)
    (output,) = run.outputs.model_outputs
    assert output.step == 10
    model = client.get_logged_model(output.model_id)
    assert [(each.key, each.value) for each in model.metrics] == [("test/flickr/bleu", 33.0)]
    assert curve(client, run_id, "test/flickr/bleu") == [(10, 33.0)]
    done = load(storage, f"models:/{output.model_id}", texts)
    assert done.returncode == 0, done.stderr
    tokenizer = Tokenizer.load(kept)
    here = FastTranslator(kept / "model", tokenizer, positions=POSITIONS, threads=1)
    best = [hyps[0].ids for hyps in here.translate(tokenizer.encode_src(texts), OPTIONS)]
    expected = tokenizer.decode_tgt(best)
    assert json.loads(done.stdout) == expected
    assert len(set(expected)) > 3

    long = load(storage, f"models:/{output.model_id}", [texts[0], " ".join(texts)])
    assert "sentence 2 has" in long.stderr
    assert f"reads at most {POSITIONS}; split it" in long.stderr


def test_a_student_is_kept_once_and_the_champion_is_the_last_one(
    tracker: Tracker,
    client: MlflowClient,
    kept: Path,
    request: pytest.FixtureRequest,
    capfd: pytest.CaptureFixture[str],
) -> None:
    name = request.node.name.replace("[", " ").replace("]", "")
    runs = [start(tracker), start(tracker)]
    for run_id in (*runs, runs[1]):
        tracker.log_model(run_id, partial(copied, kept), example=["ba de"], register_as=name)
    models = [client.get_run(run_id).outputs.model_outputs for run_id in runs]
    assert [len(each) for each in models] == [1, 1]
    assert len(client.search_model_versions(f"name = '{name}'")) == 2
    champion = client.get_model_version_by_alias(name, "champion")
    assert champion.run_id == runs[1]
    model = client.get_logged_model(models[1][0].model_id)
    assert str(model.status) == "READY"
    assert "%|" not in capfd.readouterr().err, "a bar of MLflow's own"


def test_a_store_that_is_gone_stops_nothing(
    dead: Tracker, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dead.log_model("r", partial(copied, kept), example=["ba"], register_as=None)
    assert "storing a model failed, which stops nothing else" in caplog.text
    assert "hunter2" not in caplog.text
