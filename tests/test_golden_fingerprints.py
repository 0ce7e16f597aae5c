"""Fingerprints are those of before: what users have made is found again.

A fingerprint changes when a step's result does, and its version is raised for that on purpose. Then
`python tests/test_golden_fingerprints.py` writes the new ones, and the changelog says so.
"""

import json
from pathlib import Path

import pytest

from kdray.config.load import load_experiment
from kdray.plan.experiment import make_plan

TESTS = Path(__file__).parent
GOLDEN = TESTS / "golden" / "fingerprints.json"
CONFIGS = [
    TESTS / "golden" / "everything.yaml",
    TESTS / "golden" / "ensemble.yaml",
    TESTS.parent / "tune_configs" / "demo.yaml",
]


def fingerprints(config: Path) -> dict[str, str]:
    steps = make_plan(load_experiment(config), all_signals=True).steps
    return {f"{step.key.stage}: {step.name}": step.key.fingerprint for step in steps}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_nothing_changed(config: Path) -> None:
    assert fingerprints(config) == json.loads(GOLDEN.read_text())[config.stem]


if __name__ == "__main__":
    golden = {config.stem: fingerprints(config) for config in CONFIGS}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
