"""A search in Optuna's terms: what is drawn, what trials were worth, which dimensions matter.

A choice goes to Optuna as text, since its values may be mappings, and 1 is not true.
"""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import InMemoryStorage
from optuna.trial import BaseTrial, FrozenTrial, create_trial

from kdray.config.dimensions import Choice, Dimension, Integer, LogInteger, LogUniform, rounded
from kdray.config.objectives import QUALITIES, Objectives, Scores
from kdray.config.search import SearchConfig
from kdray.config.space import Values, draw

STUDY = "search"
FEWEST = 4  # trials, from which importances are told
optuna.logging.set_verbosity(optuna.logging.WARNING)


def suggested(config: SearchConfig, trial: BaseTrial) -> dict[str, Any]:
    """A point of the space that Optuna draws."""
    return draw(config, lambda path, dimension: _value(trial, path, dimension))


def as_params(config: SearchConfig, values: Values) -> dict[str, Any]:
    """Values of a point, or of a part of it, as Optuna has them."""
    every = config.dimensions
    return {
        path: _label(value) if isinstance(every[path], Choice) else value
        for path, value in values.items()
    }


def study_with(
    config: SearchConfig,
    told: Iterable[tuple[Values, Scores]],
    *,
    storage: InMemoryStorage | None = None,
) -> optuna.Study:
    """A study of Optuna's that was told what these points are worth."""
    study = optuna.create_study(
        storage=storage or InMemoryStorage(),
        study_name=STUDY,
        directions=[f"{_direction(each.less_is_better)}" for each in config.objectives],
    )
    for values, scores in told:
        study.add_trial(_finished(config, values, scores))
    return study


def importances(
    config: SearchConfig, trials: Sequence[tuple[Values, Scores]]
) -> Mapping[str, Mapping[str, float]]:
    """Of each quality, how much each dimension decides of it, the most first; they sum to 1.

    Costs are left out: a student's shape decides them, and not a trial. By Optuna's own evaluator
    (PED-ANOVA, Watanabe et al. 2023), which knows conditions. A dimension that had one value only
    in all trials is left out. Empty with fewer than `FEWEST` trials.
    """
    if len(trials) < FEWEST:
        return {}
    study = study_with(config, trials)
    varied = [
        path
        for path in config.dimensions
        if len({repr(values[path]) for values, _ in trials if path in values}) > 1
    ]
    found: dict[str, Mapping[str, float]] = {}
    for number, objective in enumerate(config.objectives):
        if (
            objective.metric in QUALITIES
            and len({scores[objective.metric] for _, scores in trials}) > 1
            and varied
        ):
            found[objective.metric] = _importances(study, number, varied)
    return found


def _importances(study: optuna.Study, number: int, paths: list[str]) -> Mapping[str, float]:
    def target(trial: FrozenTrial) -> float:
        # The evaluator looks at what is low in a study of several objectives.
        sign = 1 if study.directions[number] == optuna.study.StudyDirection.MINIMIZE else -1
        return float(sign * trial.values[number])

    several = {"target": target} if len(study.directions) > 1 else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it asks whether low is what is looked at
        return dict(optuna.importance.get_param_importances(study, params=paths, **several))


def _finished(config: SearchConfig, values: Values, scores: Scores) -> FrozenTrial:
    dimensions = config.dimensions
    return create_trial(
        params=as_params(config, values),
        distributions={path: _distribution(dimensions[path]) for path in values},
        values=_values(scores, config.objectives),
    )


def _values(scores: Scores, objectives: Objectives) -> list[float]:
    return [scores[each.metric] for each in objectives]


def _direction(less_is_better: bool) -> str:
    return "minimize" if less_is_better else "maximize"


def _distribution(dimension: Dimension) -> BaseDistribution:
    match dimension:
        case Choice():
            return CategoricalDistribution([_label(value) for value in dimension.values])
        case Integer():
            return IntDistribution(dimension.low, dimension.high, step=dimension.step)
        case LogInteger():
            return IntDistribution(dimension.low, dimension.high, log=True)
        case LogUniform():
            return FloatDistribution(dimension.low, dimension.high, log=True)
        case _:
            return FloatDistribution(dimension.low, dimension.high, step=dimension.step)


def _value(trial: BaseTrial, path: str, dimension: Dimension) -> Any:  # noqa: ANN401 (of any type)
    match dimension:
        case Choice():
            labels = [_label(value) for value in dimension.values]
            return dimension.values[labels.index(trial.suggest_categorical(path, labels))]
        case Integer():
            return trial.suggest_int(path, dimension.low, dimension.high, step=dimension.step)
        case LogInteger():
            return trial.suggest_int(path, dimension.low, dimension.high, log=True)
        case LogUniform():
            return trial.suggest_float(path, dimension.low, dimension.high, log=True)
        case _:
            drawn = trial.suggest_float(path, dimension.low, dimension.high, step=dimension.step)
            return drawn if dimension.step is None else rounded(drawn)


def _label(value: object) -> str:
    return json.dumps(value, sort_keys=True)
