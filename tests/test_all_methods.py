"""Every method trains on generated text, from the command line."""

import sys

import pytest
import yaml
from micro_study import CONFIG

from kdray.__main__ import main
from kdray.config.experiment import Experiment
from kdray.config.methods.union import SingleMethodConfig
from kdray.fit.history import HISTORY, read_history
from kdray.plan.step import STUDENT
from kdray.progress import Display
from kdray.runner.study import open_study

METHODS = {
    "cross_entropy": {},
    "token_level": {"signal": "sampled"},
    "sentence_level": {},
    "hybrid": {"gate": {"kind": "token", "stabiliser": {"kind": "bilevel"}}, "layout": "one_pass"},
    "interpolation": {"n": 3},
    "multi_hypothesis": {"n": 2, "candidates": 3},
    "scored": {"by": "risk", "n": 3},
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
    "scores": {"risk": {"kind": "risk"}},
    "topk": {"k": 4},
    "sampled": {"draws": 20},
    "hidden": {},
    "online": True,
}


def kinds():
    union = SingleMethodConfig.__origin__.__args__
    return {config.model_fields["kind"].annotation.__args__[0] for config in union}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_method_trains_and_lowers_its_dev_loss(tmp_path, monkeypatch, without_ray):
    """`kdray train`; the micro study trains some of them on a real Ray session."""
    assert METHODS.keys() == kinds()
    raw = yaml.safe_load(CONFIG)
    raw["name"] = "all-methods"
    raw["recipe"]["signals"] |= SIGNALS
    raw["recipe"]["methods"] = {kind: {"kind": kind, **rest} for kind, rest in METHODS.items()}
    raw["recipe"]["methods"]["stages"] = STAGES
    raw["execution"] |= {"storage": str(tmp_path), "tracking": {"enabled": False}}
    del raw["search"]
    config = tmp_path / "all.yaml"
    config.write_text(yaml.safe_dump(raw))
    monkeypatch.setattr(sys, "argv", ["kdray", "train", str(config)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    with open_study(Experiment.model_validate(raw), Display()) as study:
        made = {step.name: step for step in study.plan.steps if step.stage == STUDENT}
        assert len(made) == len(METHODS) + 2
        for name, model in made.items():
            rows = read_history(study.store.fetch(model.key) / HISTORY)
            losses = [row["dev/loss"] for row in rows if "dev/loss" in row]
            assert losses[-1] < losses[0], name
        second = study.store.fetch(made["nano/stages/seed-1"].key)
        steps = [row["step"] for row in read_history(second / HISTORY)]
        assert steps[-1] == 40, "the second stage counts on from the first"
        first = made["nano/stages/seed-1/stage-1"]
        assert first.key == made["nano/annealing/seed-1"].key, "one model serves both"
