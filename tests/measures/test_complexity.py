"""The measures of a scenario as a person and a program get them, and that each is documented."""

import json
import re
from pathlib import Path

import pytest
import yaml
from micro_study import CONFIG
from typer.testing import CliRunner

from kdray.__main__ import app
from kdray.config.experiment import Experiment
from kdray.measures.measure import Absent, absent, flat, from_json, in_groups, to_json
from kdray.plan.experiment import make_plan
from kdray.plan.step import COMPLEXITY, SCORES, STUDENT, TEACHER_COMPLEXITY, up_to
from kdray.progress import Display
from kdray.runner.complexity import measures_of
from kdray.runner.study import open_study

PAGE = Path(__file__).parents[2] / "docs" / "complexity.md"
MEASURES = {"a/b": 0.123456789, "a/c": 7, "d": Absent("none is there")}


@pytest.fixture
def config(tmp_path):
    raw = yaml.safe_load(CONFIG)
    raw["recipe"]["corpus"] |= {"train_pairs": 1200, "grammar": {"recursion": 0}}
    raw["recipe"]["tokenizer"] = {"vocab_size": 300}
    raw["recipe"]["teacher"]["training"] |= {"updates": 50, "validate_every": 50}
    raw["execution"] = {"storage": str(tmp_path / "runs"), "tracking": {"enabled": False}}
    path = tmp_path / "micro.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def invoke(*arguments):
    done = CliRunner().invoke(app, ["complexity", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done


def test_measures_survive_json():
    assert to_json(from_json(to_json(MEASURES))) == to_json(MEASURES)
    assert from_json(to_json(MEASURES)) == MEASURES | {"a/b": 0.123457}
    assert flat(MEASURES).keys() | absent(MEASURES).keys() == MEASURES.keys()
    groups = in_groups(MEASURES)
    assert groups == {"a": {"b": 0.123456789, "c": 7}, "d": "absent: none is there"}


def test_nothing_that_is_trained_or_scored_depends_on_measures():
    raw = yaml.safe_load(CONFIG)
    plan = make_plan(Experiment.model_validate(raw))
    of_scenario = {
        s.key.fingerprint for s in plan.steps if s.stage in (COMPLEXITY, TEACHER_COMPLEXITY)
    }
    assert len(of_scenario) == 2
    for step in plan.steps:
        assert of_scenario.isdisjoint(key.fingerprint for key in step.reads)
    before = {step.key.fingerprint for step in up_to(plan.steps, SCORES)}
    assert of_scenario.isdisjoint(before)
    raw["recipe"]["students"]["sizes"] = {"tiny": {"preset": "tiny"}}
    others = make_plan(Experiment.model_validate(raw)).steps
    assert of_scenario <= {step.key.fingerprint for step in others}


@pytest.mark.slow
def test_a_dry_run_names_the_measures_and_no_student(config, tmp_path):
    shown = invoke(config, "--dry-run").stdout
    assert "teacher_complexity" in shown
    assert "student" not in shown
    alone = invoke(config, "--dry-run", "--text-only").stdout
    assert "\ncomplexity " in alone
    assert "teacher" not in alone
    assert not list((tmp_path / "runs").glob("*/*"))


@pytest.mark.slow
def test_text_is_measured_without_a_teacher_and_every_measure_is_documented(config, tmp_path):
    found = json.loads(invoke(config, "--text-only", "--json").stdout)
    measures, reasons = found["measures"], found["absent"]
    assert measures["text/pairs"] == pytest.approx(1200, abs=60)  # less those that occur twice
    assert measures["truth/train/entropy_per_sentence"] > 0
    assert measures["capacity/students/nano/params_per_token"] > 0
    assert {name for name in reasons if name.startswith("teacher/")}
    assert "not made yet" in reasons["capacity/teacher/params"]
    assert not (tmp_path / "runs" / "model").exists()
    documented = set(re.findall(r"`([\w/]+)`", PAGE.read_text(encoding="utf-8")))
    for name in (*measures, *reasons):
        short = re.sub(r"/(train|dev|src|ref)/", "/", name).replace("students/nano", "students")
        assert short in documented, short
    table = " ".join(invoke(config, "--text-only").stdout.split())
    assert "text/ref/type_token_ratio" in table


@pytest.mark.slow
def test_a_teacher_that_learnt_is_measured_between_truth_and_ignorance(config, without_ray):
    found = json.loads(invoke(config, "--json").stdout)
    measures = found["measures"]
    for split in ("train", "dev"):
        loss = measures[f"teacher/{split}/loss_per_sentence"]
        assert loss > 0.8 * measures[f"truth/{split}/entropy_per_sentence"]
        assert 0 < measures[f"teacher/{split}/entropy_per_token"] < 5.71  # log 300
    assert measures["capacity/students/nano/params_to_teacher"] == 1
    with open_study(
        Experiment.model_validate(yaml.safe_load(config.read_text())), Display(), only_looks=True
    ) as study:
        assert flat(measures_of(study)) == measures
        assert not any(study.is_made(step.key) for step in study.plan.of(STUDENT))
