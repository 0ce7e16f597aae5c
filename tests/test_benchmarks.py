"""The benchmark of methods runs, and times every kind of method in relation to the baseline."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from kdray.config import SingleMethodConfig

SCRIPT = Path(__file__).parents[1] / "benchmarks/methods.py"
TINY = {"model": "nano", "teacher": "nano", "vocabulary": 64, "tokens": 96, "k": 4, "draws": 8,
        "rounds": 1, "threads": 1}  # fmt: skip


def run(*arguments, **changes):
    """The lines that the benchmark prints."""
    options = [f"--{name}={value}" for name, value in {**TINY, **changes}.items()]
    line = [sys.executable, str(SCRIPT), *options, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(row) for row in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def rows():
    return run()


def named(rows, kind, variant="", signal="topk"):
    (row,) = (r for r in rows if (r["kind"], r["variant"], r["signal"]) == (kind, variant, signal))
    return row


@pytest.mark.slow
def test_every_kind_is_timed(rows):
    models = get_args(get_args(SingleMethodConfig)[0])
    kinds = {get_args(model.model_fields["kind"].annotation)[0] for model in models}
    assert {row["kind"] for row in rows} == kinds
    assert {row["signal"] for row in rows} == {"none", "topk", "sampled", "hidden", "online"}


@pytest.mark.slow
def test_a_line_holds_a_ratio_and_what_to_expect(rows):
    assert rows[0] | {"kind": "cross_entropy", "expected": 1.0, "limit": None} == rows[0]
    for row in rows:
        assert 0 < row["quartiles"][0] <= row["ratio"] <= row["quartiles"][1]
        assert row["ms"] > 0
        assert row["expected"] >= 1
        assert row["within"] == (None if row["limit"] is None else row["ratio"] <= row["limit"])


@pytest.mark.slow
def test_what_is_expected_follows_from_the_models(rows):
    assert named(rows, "token_level")["expected"] == 1
    two_pass = named(rows, "hybrid", "two_pass, fixed")["expected"]
    assert 1 < two_pass < 2  # one encoder pass, and twice the rest
    online = named(rows, "token_level", signal="online")
    assert online["expected"] == pytest.approx(4 / 3, abs=1e-3)  # a forward pass of equal size
    assert online["limit"] == pytest.approx(1.15 * 4 / 3, abs=2e-3)
    assert 1 < named(rows, "token_level", signal="hidden")["expected"] < online["expected"]


@pytest.mark.slow
def test_kinds_can_be_chosen():
    assert {row["kind"] for row in run("--only", "taid")} == {"taid"}
