"""Every method trains from the command line on generated text, beside an ensemble of teachers."""

import json

import pytest
import yaml
from micro_study import CONFIG, run

from kdray.config.methods import SingleMethodConfig

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

ELSEWHERE = {"cross_entropy", "token_level", "sentence_level", "hybrid"}  # the ensemble's students
METHODS = {
    "interpolation": {"n": 3},
    "multi_hypothesis": {"n": 2, "candidates": 3},
    "hard_gate": {},
    "selective": {},
    "tie": {"passes": 2},
    "annealing": {},
    "divergence": {"divergence": "jensen_shannon"},
    "taid": {},
    "imitation": {},
    "on_policy": {},
    "feature": {},
}
STAGES = {
    "kind": "stages",
    "stages": [
        {"method": {"kind": "annealing"}, "updates": 30},  # the same as the method of one stage
        {"method": {"kind": "cross_entropy"}, "updates": 10},
    ],
}
SIGNALS = {
    "hypotheses": {"beam": 3, "num_hyps": 3},
    "topk": {"k": 4},
    "sampled": {"draws": 20},
    "hidden": {},
    "online": True,
}


def kinds():
    union = SingleMethodConfig.__origin__.__args__
    return {config.model_fields["kind"].annotation.__args__[0] for config in union}


def histories(storage):
    """Rows of every published student, by the kind of its method."""
    found = {}
    for folder in (storage / "model").iterdir():
        record = json.loads((folder / "record.json").read_text())
        rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        found.setdefault(record["recipe"]["method"]["kind"], []).append(rows)
    return found


def test_every_method_trains_from_the_command_line(tmp_path):
    assert METHODS.keys() | ELSEWHERE == kinds()
    experiment = yaml.safe_load(CONFIG)
    recipe = experiment["recipe"]
    recipe["signals"] = SIGNALS
    recipe["methods"] = {kind: {"kind": kind, **rest} for kind, rest in METHODS.items()}
    recipe["methods"]["stages"] = STAGES
    experiment["execution"]["tracking"] = {"enabled": False}
    del experiment["search"]
    config, storage = tmp_path / "all.yaml", tmp_path / "storage"
    config.write_text(yaml.safe_dump(experiment))
    done = run("train", config, storage)
    assert done.returncode == 0, done.stdout + done.stderr
    trained = histories(storage)
    assert trained.keys() == METHODS.keys() | {"cross_entropy"}
    for kind, runs in trained.items():
        for rows in runs:
            losses = [row["dev/loss"] for row in rows if "dev/loss" in row]
            assert losses[-1] < losses[0] or len(losses) == 1, kind
    after_annealing = [rows for rows in trained["cross_entropy"] if rows[-1]["step"] == 40]
    assert len(after_annealing) == 1, "the second stage counts on from the first"
    assert len(trained["annealing"]) == 1, "the method and the first stage are one model"


def test_an_ensemble_teaches(tmp_path):
    experiment = yaml.safe_load(CONFIG)
    recipe = experiment["recipe"]
    one = recipe["teacher"]
    other = {**one, "seed": 2}
    recipe["teacher"] = {"kind": "ensemble", "members": [one, other], "weights": "perplexity"}
    recipe["signals"] = {**SIGNALS, "online": False}
    gate = {"kind": "token", "stabiliser": {"kind": "bilevel"}}
    recipe["methods"] = {
        "baseline": {"kind": "cross_entropy"},
        "soft": {"kind": "token_level", "signal": "sampled"},
        "hard": {"kind": "sentence_level"},
        "both": {"kind": "hybrid", "layout": "one_pass", "gate": gate},
    }
    experiment["execution"]["tracking"] = {"enabled": False}
    del experiment["search"]
    config, storage = tmp_path / "ensemble.yaml", tmp_path / "storage"
    config.write_text(yaml.safe_dump(experiment))
    done = run("study", config, storage)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((storage / "reports" / "micro" / "results.json").read_text())["results"]
    assert {row["method"] for row in found} == {"teacher", *recipe["methods"]}
    assert len(next(row for row in found if row["method"] == "teacher")["fingerprint"]) > 16
