"""A step fetches what it says it reads, and nothing else: so what is wanted is known beforehand."""

import sys

import pytest
import yaml
from micro_study import CONFIG

from kdray.artifacts import Brought, Key, Store
from kdray.config.experiment import Experiment
from kdray.pipeline import run_study
from kdray.plan.step import Step
from kdray.progress import Display
from kdray.runner.study import open_study

pytestmark = pytest.mark.slow


def test_every_step_reads_what_it_declares(tmp_path, without_ray, monkeypatch):
    raw = yaml.safe_load(CONFIG)
    recipe = raw["recipe"]
    recipe["signals"] = {"hypotheses": {"beam": 2, "num_hyps": 2}, "topk": {"k": 4}, "online": True}
    stage = {"method": {"kind": "cross_entropy"}, "updates": 10}
    recipe["methods"] = {
        "soft": {"kind": "token_level", "prefix": "hypothesis"},
        "chosen": {"kind": "interpolation", "n": 2},
        "tie": {"kind": "tie"},
        "staged": {"kind": "stages", "stages": [stage, stage]},
    }
    recipe["students"]["sizes"]["nano"]["initial"] = {"kind": "layers"}
    ones = "import sys\nfor line in sys.stdin: print(1)"
    scorer = {"kind": "command", "command": [sys.executable, "-c", ones], "signature": "ones"}
    recipe["evaluation"] |= {"prefixes": [0.5], "scorers": {"ones": scorer}}
    raw |= {"execution": {"storage": str(tmp_path), "tracking": {"enabled": False}}}
    raw["exports"] = {"fast": {"kind": "ctranslate2"}}
    del raw["search"]
    fetched: dict[str, set[str]] = {}
    now: list[set[str]] = []
    fetch, publish = Store.fetch, Store.publish

    def noting(store, source):
        if now and isinstance(source, Key):
            now[-1].add(source.fingerprint)
        return fetch(store, source)

    def publishing(store, key, build, lease=None):
        now.append(set())
        artifact = publish(store, key, build, lease)
        fetched[key.fingerprint] = now.pop() - {key.fingerprint}
        return artifact

    monkeypatch.setattr(Store, "fetch", noting)
    monkeypatch.setattr(Store, "publish", publishing)
    with open_study(Experiment.model_validate(raw), Display()) as study:
        run_study(study)
        steps: dict[str, Step] = {step.key.fingerprint: step for step in study.plan.steps}
    assert fetched.keys() == steps.keys()
    for fingerprint, sources in fetched.items():
        declared = {key.fingerprint for key in steps[fingerprint].reads}
        assert sources <= declared, steps[fingerprint].name


def test_what_was_brought_is_no_artifact(tmp_path):
    assert Store(tmp_path).fetch(Brought(tmp_path / "teacher", "x")) == tmp_path / "teacher"
