"""A small experiment that uses every part of the configuration, and a fixture that loads it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kdray.config.experiment import Experiment
from kdray.config.load import load_experiment

EXPERIMENT = """\
name: small
recipe:
  corpus: {kind: generated, train_pairs: 20}
  tokenizer: {vocab_size: 64}
  teacher:
    kind: trained
    model: {preset: mini}
    training: {updates: 20, schedule: {kind: inverse_sqrt, peak: 0.001, warmup: 5}}
  signals:
    hypotheses: {beam: 4}
    topk: {k: 8, temperatures: [1.0], on: [reference, hypothesis]}
  students:
    sizes:
      nano: {preset: nano}
    seeds: [1, 2]
    training: {updates: 20, schedule: {kind: cosine, peak: 0.001, warmup: 5}}
  methods:
    cross_entropy: {kind: cross_entropy}
    token_level: {kind: token_level, alpha: 0.5}
    gated: {kind: hybrid, gate: {kind: sentence, stabiliser: {kind: none}}}
execution:
  storage: runs
"""

Load = Callable[..., Experiment]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load the small experiment, with its text changed by `edits` and with overrides."""

    def load_it(*overrides: str, edits: dict[str, str] | None = None) -> Experiment:
        text = EXPERIMENT
        for old, new in (edits or {}).items():
            assert text.count(old) == 1, f"{old!r} must stand once in the small experiment"
            text = text.replace(old, new)
        path = tmp_path / "small.yaml"
        path.write_text(text, encoding="utf-8")
        return load_experiment(path, overrides)

    return load_it
