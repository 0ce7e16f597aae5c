"""Every method trains on generated text, students start from the teacher, an ensemble teaches."""

import json

import pytest
import yaml
from micro_study import CONFIG, run

from kdray.config import Experiment
from kdray.config.methods import SingleMethodConfig
from kdray.fit.history import HISTORY, read_history
from kdray.fit.worker import Worker
from kdray.pipeline import run_stages
from kdray.progress import Display
from kdray.stages import models, signals
from kdray.stages.study import Study, open_study

METHODS = {
    "cross_entropy": {},
    "token_level": {"signal": "sampled"},
    "sentence_level": {},
    "hybrid": {"gate": {"kind": "token", "stabiliser": {"kind": "bilevel"}}, "layout": "one_pass"},
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


@pytest.fixture
def without_ray(monkeypatch):
    """The stages as they are, but shards and runs are made here, one after another."""

    def make_here(work, *, execution, done):
        build = work.maker(**work.arguments)
        for index in work.plan.missing():
            work.plan.make(index, build)

    def train_here(jobs, *, execution, runs, watch):
        for name, tracked in jobs.items():
            tracked.job.run(Worker(), threads=1)
            yield name, None

    monkeypatch.setattr(signals, "make_shards", make_here)
    monkeypatch.setattr(models, "train", train_here)
    monkeypatch.setattr(Study, "start_ray", lambda study: None)


@pytest.mark.slow
def test_students_that_start_from_the_teacher_are_ahead(tmp_path, without_ray):
    raw = yaml.safe_load(CONFIG)
    recipe = raw["recipe"]
    recipe["teacher"]["model"] = {"preset": "nano", "encoder_layers": 2}
    narrow = {"preset": "nano", "width": 24, "feedforward": 48}
    recipe["students"]["sizes"] = {
        "shallow": {"preset": "nano"},
        "layers": {"preset": "nano", "initial": {"kind": "layers"}},
        "narrow": narrow,
        "pruned": {**narrow, "initial": {"kind": "prune"}},
    }
    plain = {"kind": "cross_entropy"}
    stages = [{"method": plain, "updates": 20}, {"method": plain, "updates": 10}]
    recipe["methods"] = {"twice": {"kind": "stages", "stages": stages}}
    raw["execution"] = {"storage": str(tmp_path), "tracking": {"enabled": False}}
    del raw["search"]
    with open_study(Experiment.model_validate(raw), Display()) as study:
        run_stages(study, "train")
        losses = {
            model.size: [row["dev/loss"] for row in read_history(study.path(model.key) / HISTORY)
                         if "dev/loss" in row]
            for model in study.plan.students
        }  # fmt: skip
    assert all(len(found) == 3 for found in losses.values()), losses
    for ahead, behind in (("layers", "shallow"), ("pruned", "narrow")):
        for one, other in zip(losses[ahead], losses[behind], strict=True):
            assert one < other, losses


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_method_trains_and_lowers_its_dev_loss(tmp_path, undisturbed):
    """From the command line; what the micro study has made already is not made again."""
    assert METHODS.keys() == kinds()
    before = {path: path.stat().st_mtime_ns for path in undisturbed.glob("model/*/record.json")}
    raw = yaml.safe_load(CONFIG)
    raw["name"] = "all-methods"
    raw["recipe"]["signals"] |= SIGNALS
    raw["recipe"]["methods"] = {kind: {"kind": kind, **rest} for kind, rest in METHODS.items()}
    raw["recipe"]["methods"]["stages"] = STAGES
    raw["execution"] |= {"storage": str(undisturbed), "tracking": {"enabled": False}}
    del raw["search"]
    config = tmp_path / "all.yaml"
    config.write_text(yaml.safe_dump(raw))
    done = run("train", config, undisturbed)
    assert done.returncode == 0, done.stdout + done.stderr
    with open_study(Experiment.model_validate(raw), Display()) as study:
        made = {model.name: model for s in study.plan.students for model in s.chain()}
        assert len(made) == len(METHODS) + 2
        cached = study.path(made["nano/cross_entropy/seed-1"].key) / "record.json"
        assert cached.stat().st_mtime_ns == before[cached]
        for name, model in made.items():
            rows = read_history(study.path(model.key) / HISTORY)
            losses = [row["dev/loss"] for row in rows if "dev/loss" in row]
            assert losses[-1] < losses[0], name
        second = study.path(made["nano/stages/seed-1"].key)
        steps = [row["step"] for row in read_history(second / HISTORY)]
        assert steps[-1] == 40, "the second stage counts on from the first"
        first = made["nano/stages/seed-1/stage-1"]
        assert first.key == made["nano/annealing/seed-1"].key, "one model serves both"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_ensemble_teaches(tmp_path, undisturbed):
    experiment = yaml.safe_load(CONFIG)
    experiment["name"] = "ensemble"
    recipe = experiment["recipe"]
    one = recipe["teacher"]
    other = {**one, "seed": 2}
    recipe["teacher"] = {"kind": "ensemble", "members": [one, other], "weights": "perplexity"}
    recipe["methods"] = {"baseline": {"kind": "cross_entropy"}, "both": {"kind": "hybrid"}}
    experiment["execution"]["tracking"] = {"enabled": False}
    del experiment["search"]
    config = tmp_path / "ensemble.yaml"
    config.write_text(yaml.safe_dump(experiment))
    done = run("study", config, undisturbed)
    assert done.returncode == 0, done.stdout + done.stderr
    path = undisturbed / "reports" / "ensemble" / "results.json"
    found = json.loads(path.read_text())["results"]
    assert {row["method"] for row in found} == {"teacher", *recipe["methods"]}
    assert len(next(row for row in found if row["method"] == "teacher")["fingerprint"]) > 16
