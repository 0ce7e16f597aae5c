"""A study with exports: each is tried, scored and measured, and the report names one to take."""

import json

import pytest
import yaml
from micro_study import CONFIG
from typer.testing import CliRunner

from kdray.__main__ import app
from kdray.config.experiment import Experiment
from kdray.export.card import CARD
from kdray.export.measure import MEASURED
from kdray.pipeline import run_report, run_study
from kdray.plan.step import EXPORT, STUDENT
from kdray.progress import Display
from kdray.reporting.forms import FormLimits
from kdray.runner.champion import named_champions
from kdray.runner.named_model import CHAMPION
from kdray.runner.study import open_study

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The file of a micro study with two students."""
    folder = tmp_path_factory.mktemp("exports")
    raw = yaml.safe_load(CONFIG)
    raw["recipe"]["methods"] = {"plain": {"kind": "cross_entropy"}}
    raw["recipe"]["students"] |= {"seeds": [1, 2]}
    raw["recipe"]["students"]["training"] |= {"updates": 150, "validate_every": 50}
    raw["recipe"]["signals"] = {}
    raw["recipe"].pop("teacher")
    raw["exports"] = {"exact": {"kind": "ctranslate2"}}
    raw["execution"] = {"storage": str(folder / "storage"), "tracking": {"enabled": False}}
    del raw["search"]
    path = folder / "micro.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def opened(config, **how):
    raw = yaml.safe_load(config.read_text())
    return open_study(Experiment.model_validate(raw), Display(), **how)


def test_a_study_measures_its_exports_and_names_one(config, without_ray, tmp_path):
    with opened(config) as study:
        run_study(study)
        exports = [study.store.find(step.key) for step in study.plan.of(EXPORT)]
        scores = {step.key.fingerprint: step for step in study.plan.of(STUDENT)}
    assert len(exports) == 2
    for made in exports:
        measured = made.counts["measured"]
        assert measured == json.loads((made.path / MEASURED).read_text())
        assert measured["checked"]["same"] == measured["checked"]["sentences"] == 20
        assert measured["about"]["fingerprint"] in scores
        assert measured["about"]["teacher"] == "none: the references alone"
        assert measured["scores"] == measured["of_student"] != {}
        assert 0 < measured["cost"]["latency_p50_ms"] <= measured["cost"]["latency_p95_ms"]
        assert "# nano/plain/seed-" in (made.path / CARD).read_text()
    with opened(config, only_looks=True) as study:
        assert set(named_champions(study)) == {CHAMPION}
        champion = named_champions(study)[CHAMPION]
        findings = run_report(study, tmp_path / "report", FormLimits(bytes=10**9))
        unlimited = run_report(study, tmp_path / "other", FormLimits())
    best = max(exports, key=lambda made: made.counts["measured"]["scores"]["dev"]["bleu"])
    assert champion.key.fingerprint == best.counts["measured"]["about"]["fingerprint"]
    (told,) = [each for each in findings.analysis.overview.sentences if "Within" in each]
    assert f"take {champion.name} as " in told
    assert not any("Within" in each for each in unlimited.analysis.overview.sentences)


def test_the_champion_is_exported_by_its_name(config, tmp_path):
    """Of the study that the test before this one has made."""
    arguments = ["export", CHAMPION, "--config", config, "--to", "exact", "-o", tmp_path]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    assert "# nano/plain/seed-" in (tmp_path / "exact" / CARD).read_text()
    assert "sentences of dev" in (tmp_path / "exact" / CARD).read_text()
