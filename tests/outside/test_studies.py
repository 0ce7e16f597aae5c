"""Whole studies whose method, teacher, storage or export comes from another package."""

import json
from collections import Counter
from itertools import product

import pytest
import yaml
from micro_study import CONFIG, run
from outside_packages import installed

from kdray.artifacts import RECORD, Key, Store
from kdray.config.text import GeneratedCorpusConfig
from kdray.model.storage import WEIGHTS
from kdray.text.grammar import generate_pairs

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(autouse=True)
def with_toys(tmp_path, monkeypatch):
    """Commands see the package of toys, and keep what they fetch in a folder of this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with installed():
        yield


def written(tmp_path, raw):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def keys(storage):
    """The keys of what is published in a folder, or in the toy storage that lies in one."""
    records = [json.loads(path.read_text()) for path in storage.glob(f"*/*/{RECORD}")]
    names = ("stage", "version", "recipe", "inputs")
    return {each["fingerprint"]: Key(*(each[name] for name in names)) for each in records}


def lexicon(config):
    """Each word of the training sources with the one that most faithfully stands across (Dice)."""
    times, together = Counter(), Counter()
    for pair in generate_pairs(config)["train"]:
        sides = (set(pair.src.split()), set(pair.ref.split()))
        times.update(word for side in sides for word in side)
        together.update(product(*sides))
    best = {}
    for (src, tgt), count in together.items():
        best[src] = max(best.get(src, (0.0, "")), (2 * count / (times[src] + times[tgt]), tgt))
    return {src: tgt for src, (_, tgt) in best.items()}


def test_a_study_by_a_toy_method_in_a_toy_storage_exports_a_toy(tmp_path, undisturbed):
    """What it shares with the micro study on a folder has the same fingerprints and weights."""
    raw = yaml.safe_load(CONFIG)
    raw["recipe"]["methods"]["toy"] = {"kind": "toy_hellinger", "signal": "online"}
    raw["recipe"]["signals"]["online"] = True
    raw["exports"] = {"words": {"kind": "toy_words", "first": 3}}
    del raw["search"]
    bucket = tmp_path / "bucket"
    done = run("study", written(tmp_path, raw), f"toy://{bucket}")
    assert done.returncode == 0, done.stdout + done.stderr
    ours, local = keys(bucket), keys(undisturbed)
    assert ours.keys() >= local.keys()
    models = [name for name in local if local[name].stage == "model"]
    assert len(models) == 3, "the teacher and two students"
    fetch = Store.open(f"toy://{bucket}").fetch
    for name in models:
        weights = (undisturbed / local[name].place / WEIGHTS).read_bytes()
        assert (fetch(ours[name]) / WEIGHTS).read_bytes() == weights
    exported = [fetch(key) / "words.txt" for key in ours.values() if key.stage == "export"]
    assert [len(path.read_text().split("\n")) for path in exported] == [3, 3, 3]
    (results,) = (tmp_path / "cache").glob("kdray/*/reports/micro/results.json")
    methods = {row["method"] for row in json.loads(results.read_text())["results"]}
    assert methods == {"teacher", "cross_entropy", "hybrid", "toy"}
    again = run("study", tmp_path / "study.yaml", f"toy://{bucket}")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Ray" not in again.stdout, "nothing was made"


def test_a_toy_teacher_teaches_sentences(tmp_path):
    """It knows text alone, so students learn its translations in pieces of their own."""
    raw = yaml.safe_load(CONFIG)
    recipe, words = raw["recipe"], tmp_path / "words.tsv"
    corpus = GeneratedCorpusConfig.model_validate(recipe["corpus"])
    words.write_text("".join(f"{src}\t{tgt}\n" for src, tgt in lexicon(corpus).items()))
    recipe["teacher"] = {"kind": "dictionary", "path": str(words)}
    recipe["signals"] = {"hypotheses": {"beam": 1}}
    recipe["methods"] = {"plain": {"kind": "cross_entropy"}, "taught": {"kind": "sentence_level"}}
    del raw["search"]
    storage = tmp_path / "storage"
    done = run("study", written(tmp_path, raw), storage)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((storage / "reports" / "micro" / "results.json").read_text())["results"]
    assert {row["method"] for row in results} == {"teacher", "plain", "taught"}
    assert {row["num_params"] for row in results if row["role"] == "teacher"} == {None}
    assert len(list((storage / "recoded").iterdir())) == 1
