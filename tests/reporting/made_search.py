"""A finished search, made up: conditions, stopped and failed trials, three objectives."""

import random

from optuna.samplers import RandomSampler

from kdray.config.search import SearchConfig
from kdray.reporting.searches.facts import SearchFacts
from kdray.statistics.optuna_space import study_with, suggested
from kdray.statistics.trials import TrialResult


def search_config():
    """Two methods, gates with knobs of their own, a choice of mappings."""
    return SearchConfig.model_validate({
        "methods": ["hybrid", "token_level"],
        "space": {
            "gate.kind": {
                "kind": "choice", "values": ["fixed", "sentence", "entropy"],
                "when": {"method": "hybrid"},
            },
            "gate.initial": {
                "kind": "uniform", "low": 0.1, "high": 0.9,
                "when": {"gate.kind": ["fixed", "sentence"]},
            },
            "gate.threshold": {
                "kind": "uniform", "low": 0, "high": 0.5, "when": {"gate.kind": "entropy"},
            },
            "temperature": {"kind": "log_uniform", "low": 0.5, "high": 4},
            "student.encoder_layers": {"kind": "integer", "low": 1, "high": 6},
            "layout": {"kind": "choice", "values": [{"kind": "one", "of": 1}, None, True]},
        },
        "objectives": [{"metric": "dev/chrf", "within": 0.5}, "parameters", "latency"],
        "trials": 24,
    })  # fmt: skip


def made_search(name="small <i>search", count=24):
    """The facts of the search."""
    config, drawn = search_config(), random.Random(1)
    study = study_with(config, [])
    study.sampler = RandomSampler(seed=1)
    trials = []
    for number in range(count):
        values = suggested(config, study.ask())
        fingerprint = f"{number:016x}"
        if number == 5:
            failed = TrialResult(values, None, 0, fingerprint, error="update 3: the loss is <nan>")
            trials.append(failed)
            continue
        layers = values["student.encoder_layers"]
        end = 40 + 3 * values.get("gate.initial", 0.4) + layers / 2 + drawn.gauss(0, 0.6)
        curve = [(100 * n, end * (1 - 0.6 / n**1.3)) for n in range(1, 9)]
        is_stopped = number > 6 and end < 43
        kept = curve[: 1 + number % 2] if is_stopped else curve
        scores = {
            "dev/chrf": kept[-1][1],
            "parameters": 200_000.0 + 60_000 * layers,
            "latency": 3.0 + 0.8 * layers,
        }
        trials.append(
            TrialResult(
                values, scores["dev/chrf"], kept[-1][0], fingerprint, scores=scores, curve=kept,
                updates=800, is_stopped=is_stopped,
            )
        )  # fmt: skip
    trials.sort(key=lambda each: -(each.score or 0))
    return SearchFacts.of(name, config, trials, task={})
