"""The search: students of one method with other values, judged on dev over one teacher cache."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from rich.table import Table

from kdray.artifacts import Store, write_json
from kdray.cluster.search import SearchJob, Trial, TrialResult, search
from kdray.config import BranchConfig, MethodConfig, Recipe, SearchConfig, StagesConfig
from kdray.errors import ConfigError, StageFailed
from kdray.fit.job import TrainingJob
from kdray.plan import Plan, student_plan
from kdray.stages.models import origin_of, stored_signals, teacher_paths, training_job
from kdray.stages.study import Study

_METHOD: TypeAdapter[MethodConfig] = TypeAdapter(MethodConfig)


def check_search(study: Study) -> SearchConfig:
    """The search of the experiment, after trying one value of each dimension.

    Raises:
        ConfigError: there is none, or it names what the method does not have.
    """
    config = study.experiment.search
    if config is None:
        raise ConfigError(
            f"{study.experiment.name}: no `search` in the configuration; "
            "tune_configs/search_gate.yaml shows one"
        )
    base = study.recipe.methods[config.method]
    if isinstance(base, StagesConfig | BranchConfig):
        raise ConfigError(
            f"search.method {config.method!r} ({base.kind}) has parts, and a trial is one "
            "training; search a method of one part"
        )
    for values in _corners(config):
        method = varied(base, values)
        try:
            study.recipe.check_method(config.method, method)
        except ValueError as error:
            raise ConfigError(f"search.space: {error}") from None
    if config.algorithm == "grid":
        wrong = [name for name, dimension in config.space.items() if dimension.kind != "choice"]
        if wrong:
            raise ConfigError(
                f"search.space.{wrong[0]}: a grid takes only dimensions of kind choice"
            )
    return config


def run_search(study: Study, config: SearchConfig) -> list[TrialResult]:
    """Run the search and write its table. The text, the teacher and its signals must exist."""
    training = study.recipe.students.training
    study.display.stage("Search", f"{config.method}: {', '.join(config.space)} by {config.metric}")
    study.start_ray()
    first = study.plan.students[0]
    job = SearchJob(
        config=config,
        trial=functools.partial(
            _trial, study.recipe, study.plan, config.method, training_job(study, first),
            study.store, teacher_paths(study),
        ),
        store=study.store.root,
        tracker=study.runs.tracker.spec(),
        parent_run=study.runs.parent,
        updates=training.updates,
        validate_every=training.validate_every,
    )  # fmt: skip
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
        inner = raw
        for key in path:
            inner = inner.get(key, {})
        if last not in inner:
            raise ConfigError(
                f"search.space.{dotted}: {base.kind} has no such value; at that place there are "
                f"{', '.join(sorted(inner)) or 'none'}"
            )
        inner[last] = value
    try:
        return _METHOD.validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError(f"search.space: {values}: {first['msg']}") from None


def _trial(
    recipe: Recipe,
    plan: Plan,
    name: str,
    job: TrainingJob,
    store: Store,
    teachers: tuple[Path, ...],
    values: Mapping[str, Any],
) -> Trial:
    """The student that these values describe: first size, first seed."""
    method = varied(recipe.methods[name], values)
    size, seed = next(iter(recipe.students.sizes)), recipe.students.seeds[0]
    student = student_plan(
        recipe,
        plan.encoded,
        plan.signals,
        size=size,
        method_name=name,
        method=method,
        seed=seed,
        inherits=plan.inheritance.get(size),
    )
    trial_job = replace(
        job,
        model=student.model,
        method=student.method,
        training=student.training,
        seed=seed,
        trunk=None,  # a trial is trained from its start
        folder=store.work_path(student.key),
        signals=stored_signals(student, store, teachers=teachers),
        start=None,  # the job's own is that of the first method, which may have stages
        origin=origin_of(student, teachers=teachers),
    )
    return Trial(student, trial_job)


def _corners(config: SearchConfig) -> list[dict[str, Any]]:
    """Two points that between them hold the ends of every dimension, and all choices one by one."""
    low, high = {}, {}
    for name, dimension in config.space.items():
        if dimension.kind == "choice":
            low[name], high[name] = dimension.values[0], dimension.values[-1]
        else:
            low[name], high[name] = dimension.low, dimension.high
    return [low, high]


def _write(study: Study, config: SearchConfig, results: Sequence[TrialResult]) -> None:
    """Print the trials and write them to `search.json` and `search.md` beside the reports."""
    names = list(config.space)
    table = Table("rank", *names, config.metric, "updates", "student", title="Trials on dev")
    lines = [
        "| rank | " + " | ".join([*names, config.metric, "updates", "student"]) + " |",
        "| --- " * (len(names) + 4) + "|",
    ]
    for rank, result in enumerate(results, start=1):
        score = "failed" if result.score is None else f"{result.score:.2f}"
        values = [_shown(result.values[name]) for name in names]
        row = [str(rank), *values, score, str(result.step), result.fingerprint]
        table.add_row(*row)
        lines.append("| " + " | ".join(row) + " |")
    study.display.console.print(table)
    folder = study.store.root / "reports" / study.experiment.name
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "search.json", [asdict(result) for result in results])
    (folder / "search.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    study.runs.tracker.log_artifacts(study.runs.parent, folder, "search")
    study.display.note(f"written to {folder / 'search.md'}")


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
