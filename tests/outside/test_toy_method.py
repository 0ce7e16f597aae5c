"""A method of another package, which only its entry points make known, is a method like the others.

Each test runs a process of its own, that sees packages which this one must not see.
"""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from micro_study import CONFIG
from outside_packages import INSTALLED, OUTSIDE

from kdray.artifacts import Brought
from kdray.config.trunks import of_length
from kdray.model.storage import save_model, tensors
from kdray.teacher.own import OwnModels
from kdray.text.tokenizer import Tokenizer

TOY = {"kind": "toy_hellinger", "signal": "online", "temperature": 2.0}


def outside(verb, config, argument, *packages):
    """What `outside_process.py` prints, with these folders on its path."""
    path = os.pathsep.join(str(each) for each in (*packages, os.environ.get("PYTHONPATH", "")))
    line = [sys.executable, str(Path(__file__).with_name("outside_process.py")), verb]
    done = subprocess.run(
        [*line, str(config), argument], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def config(tmp_path):
    raw = yaml.safe_load(CONFIG)
    raw["recipe"]["methods"]["toy"] = TOY
    raw["recipe"]["signals"]["online"] = True
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.mark.slow
def test_a_student_is_planned_and_trained_with_it(toy_job, changed_job, config, tmp_path):
    shape = toy_job.shape(Tokenizer.load(toy_job.fetch(toy_job.spec.tokenizer)))
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    save_model(teacher, shape, tensors(shape.build()))
    job = changed_job(
        toy_job,
        folder=tmp_path / "work",
        teacher=OwnModels((Brought(teacher, "teacher"),)),
        training=of_length(toy_job.spec.training, 4),
    )
    (tmp_path / "job").write_bytes(pickle.dumps(job))
    result = outside("train", config, str(tmp_path / "job"), INSTALLED)
    assert result["method"] == {**TOY, "alpha": 0.5, "label_smoothing": 0.1}
    *_, last = result["losses"]
    distance, hard = (last[f"train/loss/{n}"] for n in ("hellinger", "cross_entropy_reference"))
    assert 0 < distance < 1
    assert last["train/loss"] == pytest.approx((distance + hard) / 2, rel=1e-4)


WRONG = {
    "recipe.methods.toy.alpha=0.7": "",
    "recipe.methods.toy.temprature=2":
        "recipe.methods.toy.temprature: no such key; did you mean 'temperature'?",
    "recipe.methods.toy.alpha=3":
        "recipe.methods.toy.alpha: input should be less than or equal to 1 (found 3)",
    "recipe.methods.toy.signal=topk":
        "signal 'topk' does not hold what this method reads; use best, hidden, online",
    "recipe.signals.online=false":
        "methods.toy (toy_hellinger) needs distributions on reference as online",
    "recipe.methods.toy.kind=toy_helinger": "'toy_hellinger'",
    "recipe.methods.b={kind: branch, trunk: {kind: toy_hellinger, alph: 1},"
    " cooldown: {kind: cross_entropy}}":
        "recipe.methods.b.trunk.alph: no such key; did you mean 'alpha'?",
}  # fmt: skip


@pytest.mark.slow
def test_what_is_wrong_is_said_as_of_any_other_method(config):
    messages = outside("refuse", config, json.dumps(list(WRONG)), INSTALLED)
    for part, message in zip(WRONG.values(), messages, strict=True):
        assert part in message
        assert bool(message) == bool(part)
        assert "entry point" not in message, "all of them can be used"


BROKEN = """
from typing import Literal
from kdray.config.methods.base import BaseMethodConfig

class Alone(BaseMethodConfig):
    kind: Literal["alone"]

class Tie(BaseMethodConfig):
    kind: Literal["tie"]

class Stages(BaseMethodConfig):
    kind: Literal["stages"]

class Unloadable(BaseMethodConfig):
    kind: Literal["unloadable"]

class Mistaken(BaseMethodConfig):
    kind: Literal["mistaken"]
"""
ENTRY_POINTS = """
[kdray.config.methods]
nowhere = nowhere:Config
nameless = broken:Missing
other = broken:Alone
alone = broken:Alone
tie = broken:Tie
stages = broken:Stages
unloadable = broken:Unloadable
mistaken = broken:Mistaken

[kdray.methods]
reverse = broken:Alone
tie = broken:Tie
stages = broken:Stages
other = broken:Alone
unloadable = nowhere:Method
mistaken = broken:Mistaken
"""
ALWAYS_TOLD = [
    "entry point kdray.config.methods:nowhere of broken (nowhere:Config): cannot be loaded: "
    "ModuleNotFoundError: No module named 'nowhere'",
    "entry point kdray.config.methods:nameless of broken (broken:Missing): cannot be loaded: ",
    "other is not a kdray.config.methods.base.BaseMethodConfig with kind: Literal['other']",
    "kdray.config.methods: alone has no entry in the group kdray.methods; add it there",
    "kdray.config.methods: kdray has a kind 'tie' of its own; choose another name",
    "kdray.config.methods: kdray has a kind 'stages' of its own; choose another name",
    "kdray.methods: reverse has no entry in the group kdray.config.methods; add it there",
]


@pytest.mark.slow
def test_entry_points_that_cannot_be_used_are_told(config, tmp_path):
    """When something is refused; and they do no harm to what can be used."""
    info = tmp_path / "package" / "broken-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (info.parent / "broken.py").write_text(BROKEN)
    kinds = ("tie, signal: online", "alone", "nowhere", "unloadable", "mistaken")
    overrides = [f"recipe.methods.b={{kind: {kind}}}" for kind in kinds]
    taken, *refused, unloadable, mistaken = outside(
        "refuse", config, json.dumps(overrides), INSTALLED, info.parent
    )
    assert taken == ""
    for message in refused:
        assert "does not match any of the expected tags" in message
        assert [part for part in ALWAYS_TOLD if part not in message] == []
    assert "unloadable in the group kdray.methods gives nothing that can be loaded" in unloadable
    assert "entry point kdray.methods:unloadable of broken (nowhere:Method)" in unloadable
    assert "mistaken in the group kdray.methods gives <class 'broken.Mistaken'>" in mistaken


def test_the_example_of_the_documentation_is_this_method():
    page = (OUTSIDE.parents[1] / "docs" / "methods.md").read_text(encoding="utf-8")
    for name in ("method_config", "method"):
        code = (OUTSIDE / "kdray_toys" / f"{name}.py").read_text(encoding="utf-8")
        assert f"```python\n{code}```" in page
