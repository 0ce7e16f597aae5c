"""What a search found, worked out from its trials: ranks, front, importances, regret, verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from kdray.config.objectives import pareto_front, rule_in_words
from kdray.config.search import METHOD, SearchConfig
from kdray.config.space import Values
from kdray.reporting.analysis import Analysis
from kdray.reporting.verdict import Verdict, verdict_of
from kdray.statistics.optuna_space import importances
from kdray.statistics.trials import Regret, TrialResult, regret_of, winner_among


@dataclass(frozen=True)
class SearchFacts:
    """A finished search. Trials are numbered from 1, the best by the first objective first.

    Attributes:
        name: of the study.
        config: of the search.
        task: what decides scores besides the values.
        trials: all of them, failed ones last.
        winner: the trial that the objectives choose; None: none is finished and keeps the limits.
        front: numbers of the finished trials that no other one beats in all objectives.
        importances: of each objective, the share that each dimension decides.
        regret: what early stopping saved, and what it may have cost.
    """

    name: str
    config: SearchConfig
    task: Mapping[str, Any]
    trials: Sequence[TrialResult]
    winner: TrialResult | None
    front: Sequence[int]
    importances: Mapping[str, Mapping[str, float]]
    regret: Regret

    @classmethod
    def of(
        cls,
        name: str,
        config: SearchConfig,
        trials: Sequence[TrialResult],
        *,
        task: Mapping[str, Any],
    ) -> "SearchFacts":
        """Work out what the trials say."""
        finished = {n: t.scores for n, t in enumerate(trials, start=1) if t.is_finished}
        scored = [(t.values, t.scores) for t in trials if t.scores]
        return cls(
            name=name,
            config=config,
            task=task,
            trials=tuple(trials),
            winner=winner_among(trials, config.objectives),
            front=pareto_front(finished, config.objectives),
            importances=importances(config, scored),
            regret=regret_of(trials, config.first),
        )

    @property
    def failed(self) -> list[TrialResult]:
        """The trials that ended with an error."""
        return [trial for trial in self.trials if trial.error is not None]

    @property
    def rule(self) -> str:
        """How the winner was chosen, as a clause."""
        return rule_in_words(self.config.objectives)

    def number(self, trial: TrialResult) -> int:
        """The place of a trial, from 1."""
        return self.trials.index(trial) + 1

    def state(self, trial: TrialResult) -> str:
        """What became of a trial, in a word or two."""
        if trial.error is not None:
            return "failed"
        if trial is self.winner:
            return "winner"
        return f"stopped at {trial.step}" if trial.is_stopped else "finished"

    def to_json(self) -> dict[str, Any]:
        """What `search.json` holds: the search, its trials, and what they say."""
        return {
            "study": self.name,
            "search": self.config.model_dump(mode="json"),
            "task": self.task,
            "trials": [trial.to_json() for trial in self.trials],
            "winner": None if self.winner is None else self.number(self.winner),
            "rule": self.rule,
            "front": list(self.front),
            "importances": {name: dict(each) for name, each in self.importances.items()},
            "regret": asdict(self.regret),
        }


def shown(value: object) -> str:
    """A value of a dimension, in four digits if it has many."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(inner)}" for key, inner in value.items())
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def told(values: Values, names: Mapping[str, str] | None = None) -> str:
    """A point of the space on one line; `names` are other names of paths."""
    named = names or {}
    parts = [
        shown(value) if path == METHOD else f"{named.get(path, path)} {shown(value)}"
        for path, value in values.items()
    ]
    return "; ".join(parts)


def short_names(paths: Sequence[str]) -> Mapping[str, str]:
    """Of each path the shortest end that no other path has."""
    names = {}
    for path in paths:
        parts = path.split(".")
        ends = [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]
        others = [f".{other}" for other in paths if other != path]
        free = (end for end in ends if not any(each.endswith(f".{end}") for each in others))
        names[path] = next(free, path)
    return names


def score_of(metric: str, value: float | None) -> str:
    """What a trial reached in a metric, with its usual digits."""
    if value is None:
        return "–"
    if metric == "parameters":
        return f"{value:.0f}"
    return f"{value:.3f}" if metric in ("dev/loss", "latency") else f"{value:.2f}"


def verdict_on(analysis: Analysis, name: str, *, main_beam: int) -> Verdict | None:
    """What the tests say of the winner, which the search chose on dev; None: it is not scored.

    It is judged whether or not dev prefers it with the fresh seeds too.
    """
    rows = [row for t in analysis.tables if t.is_dev for row in t.students() if row.method == name]
    if not rows:
        return None
    group = rows[0].group
    verdict = verdict_of(analysis.tables, group, chosen={group: name}, main_beam=main_beam)
    said = verdict.headline.replace(f"Dev prefers {name}", f"The search chose {name}")
    said = said.replace(f"dev prefers {name}", f"the search chose {name}")
    return replace(verdict, headline=said)
