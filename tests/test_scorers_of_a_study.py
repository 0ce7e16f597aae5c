"""Metrics from outside in a whole study: they join its tables, and one that fails harms no other.

The stages are as they are, but what they give to Ray is done here, one after another.
"""

import json
import sys
from pathlib import Path

import pytest
import yaml
from micro_study import CONFIG

from kdray.config.experiment import Experiment
from kdray.errors import ConfigError, StageFailed
from kdray.pipeline import check_complete, run_study
from kdray.progress import Display
from kdray.runner.study import open_study
from kdray.scoring.evaluation import EvaluationJob

SHORT = "import json, sys\nfor line in sys.stdin: print(len(json.loads(line)['hyp'].split()))"


def scorer(code, **changes):
    command = [sys.executable, "-c", code]
    return {"kind": "command", "command": command, "signature": "test 1", **changes}


@pytest.fixture
def raw(tmp_path):
    raw = yaml.safe_load(CONFIG)
    recipe = raw["recipe"]
    recipe["teacher"] = None
    recipe["signals"] = {"hypotheses": None, "topk": None}
    recipe["methods"] = {"ce": {"kind": "cross_entropy"},
                         "smooth": {"kind": "cross_entropy", "label_smoothing": 0.2}}  # fmt: skip
    recipe["corpus"] |= {"dev_pairs": 40, "test_pairs": 40}
    recipe["evaluation"] |= {"prefixes": [0.5, 1], "sampling": {}}
    del raw["search"]
    raw["execution"] = {"storage": str(tmp_path / "storage"), "tracking": {"enabled": False}}
    return raw


def opened(raw):
    return open_study(Experiment.model_validate(raw), Display())


@pytest.mark.slow
def test_a_scorer_joins_and_another_fails_alone(raw, without_ray, monkeypatch):
    with opened(raw) as study:
        before = run_study(study).results
        check_complete(study)
    assert {str(row.condition) for row in before} == {
        "beam-2", "prefix-0.5", "teacher-forcing", "sampling",
    }  # fmt: skip

    def translated_again(*_, **__):
        raise AssertionError("a scorer translates nothing")

    monkeypatch.setattr(EvaluationJob, "make", translated_again)
    raw["recipe"]["evaluation"]["scorers"] = {
        "words": scorer(SHORT, higher_is_better=False),
        "broken": scorer("import sys; print(1); print('no model', file=sys.stderr)"),
    }
    with opened(raw) as study:
        findings = run_study(study)
        with pytest.raises(StageFailed, match=r"broken of nano/ce/seed-1: it printed 1 lines"):
            check_complete(study)
        (kept,) = {note.split("all of it is in ")[1].split(";")[0] for note in study.notes[:1]}
    assert Path(kept).read_text() == "no model\n"
    data = json.loads((findings.page.parent / "results.json").read_text())
    by_place = {(r.cell, r.split, r.condition): r for r in before}
    for row in findings.results:
        old = by_place[row.cell, row.split, row.condition]
        translated = row.hyps_path is not None
        assert ("words" in row.scores) == translated
        assert {k: v for k, v in row.scores.items() if k != "words"} == old.scores
        assert "broken" not in row.scores
    tables = [table for table in data["tables"] if table["condition"] == "beam-2"]
    for table in tables:
        assert table["signatures"]["words"] == "test 1"
        (change,) = [each for each in table["differences"] if each["metric"] == "words"]
        assert "one seed" in change["reason"]
        assert change["higher_is_better"] is False
    text = findings.page.with_suffix(".md").read_text()
    assert "words: test 1" in text
    assert "Δ words" in text
    assert "teacher forcing" in text


@pytest.mark.slow
def test_one_that_hangs_is_not_tried_on_every_model(raw, without_ray):
    hangs = scorer("import time; time.sleep(60)", timeout_seconds=1)
    raw["recipe"]["evaluation"] |= {"prefixes": [], "sampling": None, "scorers": {"slow": hangs}}
    with opened(raw) as study:
        results = run_study(study).results
        (note,) = study.notes
    assert "slow of nano/ce/seed-1: it had not ended after 1 seconds" in note
    assert "not tried on the 1 models that follow" in note
    assert {row.cell.method for row in results} == {"ce", "smooth"}


def test_a_program_that_is_not_there_is_known_before_anything_is_made(raw, tmp_path):
    raw["recipe"]["evaluation"]["scorers"] = {
        "comet": {"kind": "command", "command": ["no-such-scorer"], "signature": "x"}
    }
    with pytest.raises(ConfigError, match=r"scorers\.comet: command 'no-such-scorer'"):
        opened(raw).__enter__()
    assert not (tmp_path / "storage" / "corpus").exists()
