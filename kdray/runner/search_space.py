"""Is a search possible? All that can be known of it before anything is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdray.artifacts import read_json
from kdray.config.methods.union import BranchConfig, StagesConfig
from kdray.config.search import SearchConfig
from kdray.config.space import Values, edges, in_order, num_trials
from kdray.errors import ConfigError
from kdray.fit.spec import TrainingSpec
from kdray.plan.candidates import Candidates
from kdray.plan.step import SIGNALS, STUDENT, Step, spec_of, unique
from kdray.reporting.numbers import duration, listed
from kdray.runner.retrain import plan_retraining
from kdray.runner.study import Study
from kdray.statistics.trials import TrialResult

Told = Sequence[tuple[Values, dict[str, float]]]


@dataclass(frozen=True)
class Searchable:
    """A search that can be made.

    Attributes:
        config: of the search.
        candidates: plans its students.
        first: the update of the earliest validation that a trial may have.
        last: most updates of a trial.
        earlier: points of an earlier search and what they scored.
        task: what all trials have in common, so that scores of two searches compare.
    """

    config: SearchConfig
    candidates: Candidates
    first: int
    last: int
    earlier: Told
    task: dict[str, Any]


def check_search(study: Study) -> Searchable:
    """The search of the experiment, after planning students all over its space.

    Raises:
        ConfigError: there is none, or it names what the method does not have, or a student of it
            cannot be trained or reads what will not be made, or its budget ends too early.
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
    for name in config.methods:
        base = study.recipe.methods[name]
        if isinstance(base, StagesConfig | BranchConfig):
            raise ConfigError(
                f"search.methods: {name} ({base.kind}) has parts, and a trial is one training; "
                "search a method of one part"
            )
    candidates = Candidates.of(config, study.plan.only)
    planned = [(_planned(config, candidates, values), values) for values in edges(config)]
    specs = [spec_of(step) for step, _ in planned]
    _check_budget(config, specs)
    if config.retrain is not None:
        plan_retraining(study, candidates, planned[0][1])
    task = _task(config, specs[0])
    return Searchable(
        config=config,
        candidates=candidates,
        first=min(map(_first_validation, specs)),
        last=max(spec.ends_at for spec in specs),
        earlier=_earlier(config, task),
        task=task,
    )


def search_notes(study: Study, searchable: Searchable) -> list[str]:
    """What the search takes, in words: trials, the winner's trainings, and the teacher's work."""
    config = searchable.config
    trials = f"{num_trials(config)} trials of at most {searchable.last} updates"
    notes = [trials, *_decoding(study, config)]
    if config.retrain is not None:
        values = edges(config)[0]
        students = plan_retraining(study, searchable.candidates, values).plan.of(STUDENT)
        cells = [step.cell for step in students if step.cell is not None]
        names = listed(list(dict.fromkeys(cell.method for cell in cells)))
        seeds = listed(list(dict.fromkeys(str(cell.seed) for cell in cells)))
        notes[0] += f", then {len(cells)} trainings to compare the winner: {names}, seeds {seeds}"
    return notes


def _decoding(study: Study, config: SearchConfig) -> list[str]:
    plan = study.plan
    if not config.decode_for:
        return []
    needed = plan.needed()
    read = {name for step in plan.of(STUDENT) for name in needed[step.key.fingerprint]}
    alone = [
        step
        for step in unique(plan.steps)
        if step.stage == SIGNALS and step.key.fingerprint not in read
    ]
    paths = listed(list(config.decode_for))
    if not alone:
        return [f"search.decode_for {paths}: no signals are made that no method reads already"]
    names = listed([f"{step.name}{_cost(study, step)}" for step in alone])
    return [f"search.decode_for {paths}: the teacher makes for the search alone: {names}"]


def _cost(study: Study, step: Step) -> str:
    """What making a signal takes: its record tells, or that of another one of the same kind."""
    made = study.store.find(step.key)
    if made is not None:
        return " (made already)"
    corpus = study.store.find(study.plan.only.text.learned.corpus)
    pairs = "all training pairs" if corpus is None else f"{corpus.counts['pairs']['train']} pairs"
    for other in study.plan.steps:
        there = study.store.find(other.key) if type(other.job) is type(step.job) else None
        if there is not None and there.counts.get("seconds"):
            return f" ({pairs}; {other.name} took {duration(there.counts['seconds'])})"
    return f" ({pairs})"


def _planned(config: SearchConfig, candidates: Candidates, values: Values) -> Step:
    """The student of these values; ConfigError if it cannot be trained."""
    ranges = [path for path in values if path in config.space and _is_range(config, path)]
    drawn = f" ({', '.join(ranges)}: any number of the range)" if ranges else ""
    place = f"search.space: {dict(values)}{drawn}"
    name = candidates.method(values)
    try:
        recipe = candidates.recipe(values)
    except ConfigError as error:
        hint = ""
        if len(config.methods) > 1:
            hint = f"; a field that {name} lacks asks with `when` for a method that has it"
        raise ConfigError(f"{error}, at {dict(values)}{drawn}{hint}") from None
    try:
        candidates.students.counts.trainings(
            name, recipe.methods[name], size=candidates.cell(values).size
        )
    except (ValueError, ConfigError) as error:
        raise ConfigError(f"{place}: {error}") from None
    try:
        return candidates.step(values)
    except ConfigError as error:
        raise ConfigError(
            f"{place}: {error}; name the path of such a choice in `search.decode_for`, or add a "
            "method with these values to `recipe.methods`, and its signals are made"
        ) from None


def _is_range(config: SearchConfig, path: str) -> bool:
    return config.space[path].every is None


def _first_validation(spec: TrainingSpec) -> int:
    return min(spec.training.validate_every, spec.ends_at)


def _check_budget(config: SearchConfig, specs: Sequence[TrainingSpec]) -> None:
    """Refuse a budget that is used up before a trial was validated once."""
    if config.target_tokens is None:
        return
    for spec in specs:
        tokens = spec.training.tokens_per_update * spec.method.needs().sequences
        needed = tokens * _first_validation(spec)
        if config.target_tokens < needed:
            raise ConfigError(
                f"search.target_tokens {config.target_tokens} end before the first validation of a "
                f"trial, which is at update {_first_validation(spec)} with {needed} target tokens; "
                "give more, or lower training.validate_every"
            )


def _task(config: SearchConfig, spec: TrainingSpec) -> dict[str, Any]:
    """What decides a score besides the values: text, and how long and how wide students learn."""
    training = spec.training.model_dump(mode="json")
    return {
        "corpus": spec.corpus.fingerprint,
        "tokenizer": spec.tokenizer.fingerprint,
        "seed": spec.seed,
        "training": {key: value for key, value in training.items() if key != "precision"},
        "model": spec.model.model_dump(mode="json"),
        "searched": sorted(path for path, _ in in_order(config)),
    }


def _earlier(config: SearchConfig, task: dict[str, Any]) -> Told:
    """Finished trials of an earlier search that lie in the space of this one, and their scores.

    Raises:
        ConfigError: there is no such search, or its scores do not compare with those of this one.
    """
    if config.earlier is None:
        return []
    place = f"search.earlier.file {config.earlier.file}"
    try:
        there = read_json(Path(config.earlier.file))
        trials = [TrialResult.from_json(each) for each in there["trials"]]
        before = {name: there["task"][name] for name in task}
        searched = {str(path) for path in (*before["searched"], *task["searched"])}
    except Exception as error:  # it is a file of a user's, and may hold anything
        raise ConfigError(
            f"{place}: is no search.json of a finished search ({type(error).__name__}: {error}); "
            "give the file in its reports"
        ) from None
    differs = [name for name in ("corpus", "tokenizer", "seed") if before[name] != task[name]]
    for part, path in (("training", "training"), ("model", "student")):
        if not any(each.split(".")[0] == path for each in searched) and before[part] != task[part]:
            differs.append(part)
    if differs:
        raise ConfigError(
            f"{place}: it has another {listed(differs)}, so its scores do not compare with those "
            "of this search; give the values of its best trials as `search.starts`"
        )
    wanted: list[str] = [each.metric for each in config.objectives]
    dimensions = config.dimensions
    told = [
        (trial.values, {metric: trial.scores[metric] for metric in wanted})
        for trial in trials
        if trial.is_finished
        and set(wanted) <= set(trial.scores)
        and _lies_in(config, trial.values)
        and all(dimensions[path].holds(value) for path, value in trial.values.items())
    ]
    if not told:
        raise ConfigError(
            f"{place}: none of its {len(trials)} trials is finished, was judged by "
            f"{listed(wanted)} and lies in this space; leave it out"
        )
    return told


def _lies_in(config: SearchConfig, values: Values) -> bool:
    """Whether these are exactly the dimensions that count at this point."""
    counting = [p for p, dimension in config.dimensions.items() if dimension.counts(values)]
    return sorted(counting) == sorted(values)
