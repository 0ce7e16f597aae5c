"""benchmarks/prediction.py: advice saves regret where measures tell who wins, and not elsewhere."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "prediction.py"
METHODS = ("cross_entropy", "token_level", "sentence_level")
MEASURE = "text/lexical_entropy"
LEVELS = {"noise": "corpus.noise.rate", "ambiguity": "corpus.grammar.ambiguity"}


def report(name, draw, *, advantage):
    """A report of two axes, whose measure decides who wins by as much as `advantage` says."""
    tables, complexity = [], {}
    points = [{"noise": "0", "ambiguity": "0"}]
    points += [{**points[0], axis: f"0.{level}"} for axis in LEVELS for level in range(1, 5)]
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


@pytest.mark.parametrize(("advantage", "is_useful"), [(5.0, True), (0.0, False)])
def test_what_advice_saves_is_told_with_its_interval(tmp_path, advantage, is_useful):
    draw, paths = random.Random(3), []
    for name in ("one", "two", "three"):
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(report(name, draw, advantage=advantage)))
    done = subprocess.run(
        [sys.executable, SCRIPT, *paths], capture_output=True, text=True, timeout=100, check=True
    )
    *measures, advice = map(json.loads, done.stdout.splitlines())
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
