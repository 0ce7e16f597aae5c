"""Whole studies whose teacher is more than one model, or where students start from it.

The stages are as they are, but what they give to Ray is done here, one after another.
"""

import pytest
import yaml
from micro_study import CONFIG

from kdray.config.experiment import Experiment
from kdray.fit.history import HISTORY, read_history
from kdray.pipeline import run_steps, run_study
from kdray.plan.step import STUDENT
from kdray.progress import Display
from kdray.runner.study import open_study

pytestmark = pytest.mark.slow


def study_of(raw, storage):
    raw["execution"] = {"storage": str(storage), "tracking": {"enabled": False}}
    del raw["search"]
    return open_study(Experiment.model_validate(raw), Display())


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
    with study_of(raw, tmp_path) as study:
        run_steps(study, "train")
        losses = {
            step.cell.size: [row["dev/loss"]
                             for row in read_history(study.store.fetch(step.key) / HISTORY)
                             if "dev/loss" in row]
            for step in study.plan.of(STUDENT)
        }  # fmt: skip
    assert all(len(found) == 3 for found in losses.values()), losses
    for ahead, behind in (("layers", "shallow"), ("pruned", "narrow")):
        for one, other in zip(losses[ahead], losses[behind], strict=True):
            assert one < other, losses


@pytest.mark.long
def test_an_ensemble_teaches(tmp_path, without_ray):
    raw = yaml.safe_load(CONFIG)
    recipe = raw["recipe"]
    one = recipe["teacher"]
    recipe["teacher"] = {
        "kind": "ensemble",
        "members": [one, {**one, "seed": 2}],
        "weights": "perplexity",
    }
    recipe["signals"] = {"hypotheses": {"beam": 2}, "topk": {"k": 4}, "hidden": {}}
    gate = {"kind": "sentence"}
    recipe["methods"] = {
        "baseline": {"kind": "cross_entropy"},
        "topk": {"kind": "hybrid", "gate": gate, "signal": "topk"},
        "hidden": {"kind": "hybrid", "gate": gate, "signal": "hidden"},
    }
    with study_of(raw, tmp_path) as study:
        findings = run_study(study)
        teachers = "+".join(study.plan.only.teacher.fingerprints)
    assert {row.fingerprint for row in findings.results if row.cell.is_teacher} == {teachers}
    assert {row.cell.method for row in findings.results} == {"teacher", *recipe["methods"]}
    assert all(name in findings.page.with_suffix(".md").read_text() for name in recipe["methods"])
