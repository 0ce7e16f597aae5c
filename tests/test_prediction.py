"""benchmarks/prediction.py: advice saves regret where measures tell who wins, and not elsewhere."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "prediction.py"
MEASURE = "text/lexical_entropy"
AXES = ("noise", "ambiguity")


def report(name, draw, *, advantage):
    """A report of two axes, whose measure decides who wins by as much as `advantage` says."""
    tables, complexity = [], {}
    points = [{"noise": "0", "ambiguity": "0"}]
    points += [{**points[0], axis: f"0.{level}"} for axis in AXES for level in range(1, 5)]
    for point in points:
        measure = draw.uniform(-1, 1)
        start = "".join(f"{axis}={label}/" for axis, label in point.items())
        complexity[start + MEASURE] = measure
        scores = {"teacher": 50, "cross_entropy": 20, "token_level": 30 - advantage * measure}
        scores["sentence_level"] = 30 + advantage * measure + draw.gauss(0, 0.5)
        rows = [
            {"size": "teacher" if method == "teacher" else "nano", "method": method,
             "scores": {"bleu": {"mean": score}}}
            for method, score in scores.items()
        ]  # fmt: skip
        tables.append(
            {"split": "test-generated", "condition": "beam-4", "point": list(point.items()),
             "rows": rows}
        )  # fmt: skip
    return {"study": name, "complexity": complexity, "tables": tables}


def printed(*paths):
    """The lines about measures, and the one about advice."""
    done = subprocess.run(
        [sys.executable, SCRIPT, *paths], capture_output=True, text=True, timeout=100, check=True
    )
    *measures, advice = map(json.loads, done.stdout.splitlines())
    return measures, advice


@pytest.mark.parametrize(("advantage", "is_useful"), [(5.0, True), (0.0, False)])
def test_what_advice_saves_is_told_with_its_interval(tmp_path, advantage, is_useful):
    draw, paths = random.Random(3), []
    for name in ("one", "two", "three"):
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(report(name, draw, advantage=advantage)))
    measures, advice = printed(*paths)
    assert len(advice["families"]) == 9
    assert advice["scenarios"] == 27
    assert (advice["saved_low"] > 0) == is_useful
    assert advice["regret"] >= 0
    if is_useful:
        assert measures[0]["measure"] == MEASURE
        assert measures[0]["rho"] > 0.9
        assert advice["saved"] == pytest.approx(
            advice["regret_without"] - advice["regret"], abs=0.01
        )


def test_one_report_tells_nothing_of_the_point_that_its_axes_share(tmp_path):
    path = tmp_path / "one.json"
    path.write_text(json.dumps(report("one", random.Random(3), advantage=5.0)))
    _, advice = printed(path)
    assert advice["families"] == ["one/ambiguity", "one/noise"]
    assert advice["scenarios"] == 8


def test_families_of_two_studies_are_not_mixed(tmp_path):
    """In one study the measure speaks for one method, in the other for the other."""
    draw, paths = random.Random(3), []
    for name, advantage in (("one", 5.0), ("two", -5.0)):
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(report(name, draw, advantage=advantage)))
    measures, _ = printed(*paths)
    (line,) = [each for each in measures if each["measure"] == MEASURE]
    assert line["rho_within_families"] == pytest.approx(0, abs=0.1)
