"""The winner of a search against the methods of the recipe: fresh seeds, the tests once, a report.

A search chooses among many trials, so the best dev score flatters. What it found is trained anew
like any student of a study, and compared by the same statistics.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from kdray.config.experiment import Experiment
from kdray.config.recipe import Recipe
from kdray.config.search import RetrainConfig
from kdray.config.space import Values
from kdray.errors import ConfigError
from kdray.plan.candidates import Candidates, changed
from kdray.plan.experiment import Plan
from kdray.plan.scenario import with_recipe
from kdray.runner.make import make_steps
from kdray.runner.reporting import Findings, Measured, find, make_report, measured_in
from kdray.runner.results import results_of
from kdray.runner.study import Study

FOLDER = "winner"  # of its report, beside the search's own
FOUND = "found"  # the name of what the search found, among the methods
SEEDS = 3  # with two, the noise of seeds is hardly known


@dataclass(frozen=True)
class Retraining:
    """A study of the methods of the recipe and the winner. `name` is the winner's there."""

    experiment: Experiment
    plan: Plan
    name: str
    winner: Recipe


def plan_retraining(study: Study, candidates: Candidates, values: Values) -> Retraining:
    """Plan what a point of the space is compared by.

    Raises:
        ConfigError: a method cannot be trained with the values of the training or the shape.
    """
    config = candidates.config.retrain
    assert config is not None, "asked only where the winner is retrained"
    recipe = _rivals(study.recipe, config)
    name = next(n for n in (FOUND, f"{FOUND}-by-search") if n not in recipe.methods)
    method = candidates.method(values)
    winner = changed(_with(recipe, study.recipe, method), method, values, name=name)
    scenario = with_recipe(study.plan.only, recipe)
    of_winner = with_recipe(study.plan.only, winner).steps
    steps = [step for step in of_winner if step.cell is not None and step.cell.method == name]
    experiment = study.experiment.model_copy(update={"recipe": recipe, "exports": {}})
    plan = Plan((scenario,), scenario.steps).with_models(steps)
    return Retraining(experiment, plan, name, winner)


def retrain(study: Study, retraining: Retraining) -> Findings:
    """Train the winner and its rivals, score them, and write the report of their comparison.

    Raises:
        KdrayError: a step could not be finished; what was made is kept.
    """
    compared = replace(
        study,
        experiment=retraining.experiment,
        plan=retraining.plan,
        failures={},
        needed={},
    )
    make_steps(compared, compared.plan.steps)
    study.failures.update(compared.failures)
    at_rest = compared.at_rest()
    measured = measured_in(at_rest, results_of(at_rest))
    findings = find(_named(measured, retraining), study.display)
    return make_report(compared, findings, report_folder(study))


def report_folder(study: Study) -> Path:
    """Where the report of the winner lies."""
    return study.reports / FOLDER


def fresh_seeds(recipe: Recipe, config: RetrainConfig) -> tuple[int, ...]:
    """Seeds that no trial had: those of the recipe but the first, and new ones up to three.

    Raises:
        ConfigError: one that was asked for is that of the trials.
    """
    first, *others = recipe.students.seeds
    if config.seeds is not None:
        if first in config.seeds:
            raise ConfigError(
                f"search.retrain.seeds {list(config.seeds)}: all trials have the seed {first}, by "
                "whose luck the winner was chosen; give others"
            )
        return config.seeds
    new = (seed for seed in range(1, first + len(others) + SEEDS + 2) if seed != first)
    seeds = list(others)
    while len(seeds) < SEEDS:
        seed = next(new)
        if seed not in seeds:
            seeds.append(seed)
    return tuple(seeds)


def _rivals(recipe: Recipe, config: RetrainConfig) -> Recipe:
    """The recipe of the students that the winner is compared with: one size, one length."""
    beside = config.beside or tuple(recipe.methods)
    names = dict.fromkeys((recipe.baseline_method, *beside))
    return _changed(
        recipe,
        methods={name: recipe.methods[name] for name in names},
        baseline=recipe.baseline_method,
        students=recipe.students.model_copy(
            update={
                "sizes": dict(list(recipe.students.sizes.items())[:1]),
                "seeds": fresh_seeds(recipe, config),
                "budgets": (),
            }
        ),
    )


def _with(rivals: Recipe, recipe: Recipe, method: str) -> Recipe:
    """The same with a method of the recipe, which the winner is a form of."""
    return _changed(rivals, methods={**rivals.methods, method: recipe.methods[method]})


def _changed(recipe: Recipe, **parts: object) -> Recipe:
    """A recipe with other parts, checked anew."""
    return Recipe.model_validate(recipe.model_copy(update=parts).model_dump(mode="json"))


def _named(measured: Measured, retraining: Retraining) -> Measured:
    """With the winner among the methods that the report says the recipe has."""
    recipe = dict(measured.facts.recipe)
    found = retraining.winner.model_dump(mode="json")
    recipe["methods"] = {**recipe["methods"], retraining.name: found["methods"][retraining.name]}
    if found["students"] != recipe["students"]:
        recipe[f"students of {retraining.name}"] = found["students"]
    return replace(measured, facts=replace(measured.facts, recipe=recipe))
