r"""Does a measure of complexity predict which method wins?

    python benchmarks/prediction.py runs/reports/generated-axes/results.json \
        runs/reports/real-text/results.json [--test test-in_domain] [--metric bleu] [--beam 4]

A scenario is a point of a study's axes and a size of student. A family is what neighbours have in
common: a named point (a corpus), or one axis of numbers of one study. All that is predicted of a
family comes from the scenarios of other families; the point that the axes of a study share belongs
to each of them, and is left out with each. It is a family too, for which other studies alone speak.

Scores are in percent of the teacher's, means over seeds. JSON lines tell of:

* measures: the rank correlation (Spearman) of each measure with the advantage of the sentence level
  over the token level, over all scenarios and in the mean within families that have four or more.
* advice: how often, and by how much, a ridge regression on all measures chooses a worse method than
  the best one of a scenario (regret), beside always choosing what is best in the other families;
  the interval of what advice saves comes from resampling families (percentiles of 10 000 draws).
"""

import argparse
import json
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ConstantInputWarning, spearmanr
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SENTENCE, TOKEN = "sentence_level", "token_level"
MEASURES = (
    *(
        f"teacher/{split}/{name}"
        for split in ("train", "dev")
        for name in (
            "loss_per_token",
            "loss_per_word",
            "entropy_per_token",
            "entropy_per_word",
            "beam_entropy",
            "beam_margin",
            "beam_mass",
        )
    ),
    *(f"text/{name}" for name in ("lexical_entropy", "fertility_sd", "monotonicity", "unaligned")),
    *(
        f"text/{side}/{name}"
        for side in ("src", "ref")
        for name in ("words_mean", "pieces_mean", "type_token_ratio", "rare_words")
    ),
    "capacity/students/{size}/params_to_teacher",
    "capacity/students/{size}/params_per_token",
)
DRAWS = 10_000


@dataclass(frozen=True)
class Scenario:
    """What is known before students are trained, and how well they did."""

    study: str
    family: str  # empty: the point that all axes of a study share
    name: str
    measures: NDArray[np.float64]
    scores: dict[str, float]  # of each method, in percent of the teacher's

    @property
    def advantage(self) -> float:
        """Of the sentence level over the token level."""
        return self.scores[SENTENCE] - self.scores[TOKEN]


def main() -> None:
    """Read the reports and print the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--test", action="append", help="Name of the test; of several, the first.")
    parser.add_argument("--metric", default="bleu")
    parser.add_argument("--beam", type=int, default=4)
    options = parser.parse_args()
    tests = options.test or ["test-in_domain", "test-generated"]
    scenarios = [
        scenario
        for path in options.results
        for scenario in read(path, tests=tests, metric=options.metric, beam=options.beam)
    ]
    for line in correlations(scenarios):
        print(json.dumps({"what": "measure", **line}))
    print(json.dumps({"what": "advice", **advice(scenarios)}))


def read(path: Path, *, tests: Sequence[str], metric: str, beam: int) -> list[Scenario]:
    """The scenarios of one report."""
    report = json.loads(path.read_text())
    complexity = report["complexity"]
    tables = [each for each in report["tables"] if each["condition"] == f"beam-{beam}"]
    test = next(name for name in tests if any(table["split"] == name for table in tables))
    points = [dict(table["point"]) for table in tables if table["split"] == test]
    first = points[0]
    scenarios = []
    for table in tables:
        if table["split"] != test:
            continue
        point = dict(table["point"])
        moved = [axis for axis, label in point.items() if label != first[axis]]
        scores = defaultdict[str, dict[str, float]](dict)
        for row in table["rows"]:
            scores[row["size"]][row["method"]] = row["scores"][metric]["mean"]
        teacher = next(iter(scores.pop("teacher").values()))
        start = "".join(f"{axis}={label}/" for axis, label in point.items())
        for size, of_size in scores.items():
            measures = [
                complexity.get(f"{start}{name.format(size=size)}", np.nan) for name in MEASURES
            ]
            scenarios.append(
                Scenario(
                    report["study"],
                    family_of(point, moved),
                    f"{report['study']}/{start}{size}",
                    np.array(measures, dtype=np.float64),
                    {method: 100 * score / teacher for method, score in of_size.items()},
                )
            )
    return scenarios


def family_of(point: dict[str, str], moved: Sequence[str]) -> str:
    """What a scenario has neighbours in. A label that is no number is a corpus of its own."""
    if not moved:
        return ""
    named = [point[axis] for axis in moved if not _is_number(point[axis])]
    return "+".join(named or moved)


def are_neighbours(family: tuple[str, str], other: Scenario) -> bool:
    """Whether a scenario of another family would tell of this one what it is not to know."""
    study, name = family
    return other.study == study and (not name or other.family in ("", name))


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def correlations(scenarios: Sequence[Scenario]) -> list[dict[str, object]]:
    """Of each measure with the advantage of the sentence level, the strongest first."""
    by_family = defaultdict[str, list[Scenario]](list)
    for scenario in scenarios:
        by_family[scenario.family].append(scenario)
    lines = []
    for column, name in enumerate(MEASURES):
        within = [
            rho for same in by_family.values() if len(same) > 3 and (rho := _rho(same, column))
        ]
        lines.append(
            {
                "measure": name,
                "rho": _rho(scenarios, column),
                "rho_within_families": round(float(np.mean(within)), 3) if within else None,
                "scenarios": len(scenarios),
            }
        )
    return sorted(lines, key=lambda line: -abs(line["rho"] or 0))


def _rho(scenarios: Sequence[Scenario], column: int) -> float | None:
    pairs = [(each.measures[column], each.advantage) for each in scenarios]
    known = np.array([pair for pair in pairs if np.isfinite(pair[0])])
    if len(known) < 3:
        return None
    with warnings.catch_warnings(action="ignore", category=ConstantInputWarning):
        rho = float(spearmanr(known[:, 0], known[:, 1]).statistic)
    return round(rho, 3) if np.isfinite(rho) else None


def advice(scenarios: Sequence[Scenario]) -> dict[str, object]:
    """Regret of advice and of one method for all, each from other families alone."""
    methods = sorted(set.intersection(*(set(each.scores) for each in scenarios)))
    known = np.isfinite([each.measures for each in scenarios]).all(axis=0)
    families = sorted({(each.study, each.family) for each in scenarios})
    advised, constant, right, right_constant = [], [], [], []
    for left_out in families:
        held = [each for each in scenarios if (each.study, each.family) == left_out]
        others = [each for each in scenarios if not are_neighbours(left_out, each)]
        y = np.array([[each.scores[method] for method in methods] for each in others])
        y -= y.mean(axis=1, keepdims=True)
        best_of_all = methods[int(y.mean(axis=0).argmax())]
        model = make_pipeline(StandardScaler(), Ridge(alpha=10.0))
        model.fit(np.array([each.measures[known] for each in others]), y)
        predicted = model.predict(np.array([each.measures[known] for each in held]))
        for each, row in zip(held, predicted, strict=True):
            best = max(each.scores[method] for method in methods)
            chosen = methods[int(row.argmax())]
            advised.append((left_out, best - each.scores[chosen]))
            constant.append((left_out, best - each.scores[best_of_all]))
            right.append(each.scores[chosen] == best)
            right_constant.append(each.scores[best_of_all] == best)
    saved = defaultdict[tuple[str, str], list[float]](list)
    for (name, with_advice), (_, without) in zip(advised, constant, strict=True):
        saved[name].append(without - with_advice)
    rng = np.random.default_rng(0)
    sums = np.array([[sum(each), len(each)] for each in saved.values()])
    drawn = sums[rng.integers(len(sums), size=(DRAWS, len(sums)))].sum(axis=1)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return {
        "methods": methods,
        "families": ["/".join(filter(None, each)) for each in families],
        "scenarios": len(advised),
        "measures": int(known.sum()),
        "right": round(float(np.mean(right)), 3),
        "right_without": round(float(np.mean(right_constant)), 3),
        "regret": round(float(np.mean([regret for _, regret in advised])), 3),
        "regret_without": round(float(np.mean([regret for _, regret in constant])), 3),
        "saved": round(float(sums[:, 0].sum() / sums[:, 1].sum()), 3),
        "saved_low": round(float(low), 3),
        "saved_high": round(float(high), 3),
    }


if __name__ == "__main__":
    main()
