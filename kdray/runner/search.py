"""The search: students of one method with other values, judged on dev over one teacher cache."""

import copy
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from rich.table import Table

from kdray.artifacts import write_json
from kdray.cell import Cell
from kdray.cluster.trials import SearchJob, TrialResult, search
from kdray.config.methods.union import BranchConfig, MethodConfig, StagesConfig
from kdray.config.search import Choice, Dimension, LogUniform, SearchConfig
from kdray.errors import ConfigError, StageFailed
from kdray.plan.step import TRIAL, Step, spec_of
from kdray.plan.students import Students
from kdray.reporting.layout import markdown_row
from kdray.runner.study import Study

_METHOD: TypeAdapter[MethodConfig] = TypeAdapter(MethodConfig)
INSIDE = (math.sqrt(5) - 1) / 2  # of a range: a number that no field takes by accident
MOST_POINTS = 500  # tried before the search; each takes about a millisecond


def check_search(study: Study) -> SearchConfig:
    """The search of the experiment, after planning students all over its space.

    Raises:
        ConfigError: there is none, or it names what the method does not have, or a student of it
            cannot be trained or reads what will not be made.
    """
    config = study.experiment.search
    if config is None:
        raise ConfigError(
            f"{study.experiment.name}: no `search` in the configuration; "
            "tune_configs/search_gate.yaml shows one"
        )
    if study.recipe.axes:
        raise ConfigError(
            "recipe.axes: a search is made at one point; leave the axes out with "
            "--set recipe.axes={}"
        )
    base = study.recipe.methods[config.method]
    if isinstance(base, StagesConfig | BranchConfig):
        raise ConfigError(
            f"search.method {config.method!r} ({base.kind}) has parts, and a trial is one "
            "training; search a method of one part"
        )
    if config.algorithm == "grid" and (ranges := _ranges(config)):
        raise ConfigError(f"search.space.{ranges[0]}: a grid takes only dimensions of kind choice")
    for values in _points(config):
        _check_point(study, config, values)
    return config


def run_search(study: Study, config: SearchConfig) -> list[TrialResult]:
    """Run the search and write its table. The text, the teacher and its signals must exist."""
    students, name = study.plan.only.students, config.method
    training = spec_of(_trial(students, name, {})).training
    study.display.stage("Search", f"{config.method}: {', '.join(config.space)} by {config.metric}")
    study.start_ray()
    job = SearchJob(
        config=config,
        trial=functools.partial(_trial, students, name),
        store=study.store,
        tracker=study.runs.tracker,
        parent_run=study.runs.parent,
        training=training,
    )
    with study.display.bars() as bars:

        def watch(latest: Sequence[Mapping[str, Any]]) -> None:
            for number, metrics in enumerate(latest, start=1):
                if metrics and "step" in metrics:
                    note = f"{config.metric} {metrics['score']:.2f}"
                    bars.move(f"trial {number}", int(metrics["step"]), training.updates, note)

        results = search(job, execution=study.experiment.execution, watch=watch)
    _write(study, config, results)
    failed = [result for result in results if result.error is not None]
    if failed:
        raise StageFailed(
            f"{len(failed)} of {len(results)} trials failed, first: {failed[0].error}; "
            "the others are in the table"
        )
    return results


def varied(base: MethodConfig, values: Mapping[str, Any]) -> MethodConfig:
    """A method with some dotted values replaced.

    Raises:
        ConfigError: the method has no such value, or it is out of range.
    """
    raw = base.model_dump(mode="json")
    for dotted, value in values.items():
        *path, last = dotted.split(".")
        inner: Any = raw
        for key in path:
            inner = inner.get(key) if isinstance(inner, dict) else None
        there = inner if isinstance(inner, dict) else {}
        if last not in there:
            raise ConfigError(
                f"search.space.{dotted}: {base.kind} has no such value; at that place there are "
                f"{', '.join(sorted(there)) or 'none'}"
            )
        there[last] = copy.deepcopy(value)  # a later path may go into it
    try:
        return _METHOD.validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        repair = "; list whole numbers in a choice" if first["type"] == "int_from_float" else ""
        raise ConfigError(f"search.space: {dict(values)}: {first['msg']}{repair}") from None


def _trial(students: Students, name: str, values: Mapping[str, Any]) -> Step:
    """The student that these values describe: first size, first seed."""
    recipe = students.recipe
    cell = Cell(name, next(iter(recipe.students.sizes)), recipe.students.seeds[0])
    spec = students.spec(cell, varied(recipe.methods[name], values))
    step = students.step(cell, spec, name=f"trial-{spec.key.fingerprint[:8]}", heading="")
    return replace(step, stage=TRIAL)


def _check_point(study: Study, config: SearchConfig, values: Mapping[str, Any]) -> None:
    """Plan the student of these values; raise ConfigError if it cannot be trained."""
    recipe, name = study.recipe, config.method
    ranges = ", ".join(_ranges(config))
    drawn = f" ({ranges}: any number of the range)" if ranges else ""
    place = f"search.space: {dict(values)}{drawn}"
    method, students = varied(recipe.methods[name], values), study.plan.only.students
    try:
        recipe.check_method(name, method)
        students.counts.trainings(name, method, size=next(iter(recipe.students.sizes)))
    except (ValueError, ConfigError) as error:
        raise ConfigError(f"{place}: {error}") from None
    try:
        _trial(students, name, values)
    except ConfigError as error:
        raise ConfigError(
            f"{place}: {error}; add a method with these values to `recipe.methods`, and its "
            "signals are made"
        ) from None


def _ranges(config: SearchConfig) -> list[str]:
    return [name for name, dimension in config.space.items() if dimension.kind != "choice"]


def _points(config: SearchConfig) -> list[dict[str, Any]]:
    """Points of the space: all choices, and of each range both ends and a number inside.

    Every combination of them; where those are many, the first and the last values of all
    dimensions, and each value beside the first ones of the others.
    """
    tried = {name: _tried(dimension) for name, dimension in config.space.items()}
    if math.prod(map(len, tried.values())) <= MOST_POINTS:
        every = itertools.product(*tried.values())
        return [dict(zip(tried, point, strict=True)) for point in every]
    first = {name: values[0] for name, values in tried.items()}
    last = {name: values[-1] for name, values in tried.items()}
    alone = [{**first, name: value} for name, values in tried.items() for value in values]
    return [first, last, *alone]


def _tried(dimension: Dimension) -> tuple[Any, ...]:
    if isinstance(dimension, Choice):
        return dimension.values
    low, high = dimension.low, dimension.high
    if isinstance(dimension, LogUniform):
        return low, low ** (1 - INSIDE) * high**INSIDE, high
    return low, low * (1 - INSIDE) + high * INSIDE, high


def _write(study: Study, config: SearchConfig, results: Sequence[TrialResult]) -> None:
    """Print the trials and write them to `search.json` and `search.md` beside the reports."""
    headings = ["rank", *config.space, config.metric, "updates", "student"]
    rows = []
    for rank, result in enumerate(results, start=1):
        score = "failed" if result.score is None else f"{result.score:.2f}"
        values = [_shown(result.values[name]) for name in config.space]
        rows.append([str(rank), *values, score, str(result.step), result.fingerprint])
    table = Table(*headings, title="Trials on dev")
    for row in rows:
        table.add_row(*row)
    study.display.console.print(table)
    lines = map(markdown_row, [headings, ["---"] * len(headings), *rows])
    write_trials(study.reports / "search.json", config, results)
    (study.reports / "search.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    study.runs.tracker.log_artifacts(study.runs.parent, study.reports, "search")
    study.display.note(f"written to {study.reports / 'search.md'}")


def write_trials(path: Path, config: SearchConfig, results: Sequence[TrialResult]) -> None:
    """Write the search as it was configured, and its trials: what a notebook reads."""
    trials = [asdict(result) for result in results]
    write_json(path, {"search": config.model_dump(mode="json"), "trials": trials})


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
