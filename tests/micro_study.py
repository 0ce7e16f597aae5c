"""The smallest whole study: what the end-to-end tests run as a user would, in a process."""

import json
import shutil
import subprocess
import sys

CONFIG = """
name: micro
recipe:
  corpus:
    kind: generated
    train_pairs: 300
    dev_pairs: 20
    test_pairs: 20
    grammar: {nouns: 5, verbs: 5, adjectives: 4, adverbs: 4, ambiguity: 0, recursion: 0}
  tokenizer: {vocab_size: 110}
  teacher:
    kind: trained
    model: {preset: nano}
    training:  # enough to learn where sentences end
      updates: 200
      tokens_per_update: 512
      schedule: {kind: cosine, peak: 0.01, warmup: 20}
      checkpoint_every: 50
      validate_every: 200
  signals: {hypotheses: {beam: 2}, topk: {k: 4}}
  students:
    sizes: {nano: {preset: nano}}
    training:
      updates: 30
      tokens_per_update: 512
      schedule: {kind: cosine, peak: 0.01, warmup: 5}
      checkpoint_every: 10
      validate_every: 10
      averaging: {kind: last, checkpoints: 2}
  methods:
    cross_entropy: {kind: cross_entropy}
    hybrid: {kind: hybrid, gate: {kind: sentence}, signal: topk}
  evaluation: {beams: [2], bootstrap_samples: 100}
execution: {parallel_students: 2, shard_pairs: 100, start_seconds: 240}  # many share the machine
search:
  methods: hybrid
  space:
    gate.initial: {kind: uniform, low: 0.2, high: 0.8}
    gate.stabiliser.strength: {kind: choice, values: [0.01, 0.1]}
  trials: 2
  objectives: dev/loss
"""


def command(verb, config, storage, *overrides):
    """The command line of a verb."""
    sets = [f"--set={each}" for each in (f"execution.storage={storage}", *overrides)]
    return [sys.executable, "-m", f"kdray.{verb}", str(config), *sets]


def run(verb, config, storage, *overrides):
    """Run a verb to its end, or to the limit of the tests that call this."""
    line = command(verb, config, storage, *overrides)
    return subprocess.run(line, capture_output=True, text=True, timeout=850, check=False)


def copied(storage, target):
    """The artifacts of a storage in another one, without what the tracker knows of them.

    Other tests read the storage of the study that ran to its end: nothing may be added to it.
    """
    unknown = shutil.ignore_patterns("mlflow*", "mlartifacts", "tracking")
    return shutil.copytree(storage, target, ignore=unknown)


def scores(storage):
    """What a report's results say, without what a clock decided."""
    results = json.loads((storage / "reports" / "micro" / "results.json").read_text())["results"]
    timed = ("seconds", "per_second", "path")

    def untimed(value):
        """Without times and places, at any depth."""
        if not isinstance(value, dict):
            return value
        return {name: untimed(each) for name, each in value.items() if not name.endswith(timed)}

    return [untimed(row) for row in results]
