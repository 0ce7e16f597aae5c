"""Whole studies whose method, teacher, storage or export comes from another package."""

import json

import pytest
import yaml
from micro_study import CONFIG, run
from outside_packages import installed

from kdray.artifacts import RECORD
from kdray.model.storage import WEIGHTS

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


def records(folder):
    return {json.loads(path.read_text())["fingerprint"]: path for path in folder.rglob(RECORD)}


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
    ours, local = records(bucket), records(undisturbed)
    # a search of another test may have left students of its own in the folder
    assert all(name in ours for name, path in local.items() if path.parts[-3] != "model")
    both = [name for name in ours.keys() & local.keys() if (ours[name].parent / WEIGHTS).exists()]
    assert len(both) == 3, "the teacher and two students"
    for name in both:
        weights = (local[name].parent / WEIGHTS).read_bytes()
        assert (ours[name].parent / WEIGHTS).read_bytes() == weights
    exported = [path.parent / "words.txt" for path in records(bucket / "export").values()]
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
    words = tmp_path / "words.tsv"
    words.write_text("a\tb\n")
    recipe = raw["recipe"]
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
