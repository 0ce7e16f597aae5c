"""`python -m kdray.report A.yaml B.yaml`: two finished studies become one page, or are refused."""

import csv
import subprocess
import sys

import pytest
import yaml
from micro_study import CONFIG

from kdray.config.experiment import Experiment
from kdray.pipeline import run_study
from kdray.progress import Display
from kdray.runner.study import open_study

pytestmark = pytest.mark.slow


def finished(folder, name, **students):
    """The configuration file of a study that has run."""
    raw = yaml.safe_load(CONFIG)
    del raw["search"]
    raw["name"] = name
    raw["recipe"]["students"] |= students
    raw["execution"] = {"storage": str(folder / "runs"), "tracking": {"enabled": False}}
    with open_study(Experiment.model_validate(raw), Display()) as study:
        run_study(study)
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(raw))
    return config


def report(*arguments):
    """The command in a process of its own."""
    line = [sys.executable, "-m", "kdray.report", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.long
def test_two_studies_are_one_page(tmp_path, without_ray, capsys):
    first = finished(tmp_path, "first")
    said = capsys.readouterr().out
    assert said.index("students.seeds holds one seed") < said.index("Corpus")
    second = finished(tmp_path, "second", sizes={"tiny": {"preset": "tiny"}})
    done = report(first, second, "--into", tmp_path / "both")
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "both" / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"].startswith("test")]
    assert {row["axes.study"] for row in rows} == {"first", "second"}
    assert {(row["axes.study"], row["size"]) for row in rows if row["method"] == "hybrid"} == {
        ("first", "nano"),
        ("second", "tiny"),
    }
    page = (tmp_path / "both" / "report.html").read_text()
    assert "first" in page
    assert "second" in page

    (tmp_path / "runs" / "scores").rename(tmp_path / "elsewhere")
    missing = report(first, second, "--into", tmp_path / "none")
    assert missing.returncode != 0
    assert "kdray.evaluate" in missing.stderr
    assert "Traceback" not in missing.stderr
