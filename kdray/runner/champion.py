"""The champion of each scenario: of the method that dev chose, the student that is best on dev.

MLflow keeps champions as models, or all students, as is configured.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from kdray.artifacts import write_json
from kdray.cell import Point, within
from kdray.condition import Condition
from kdray.config.export import CTranslate2Config
from kdray.export.forms import write_ctranslate2
from kdray.model.generate import SearchOptions
from kdray.model.storage import load_shape
from kdray.plan.step import STUDENT, Step
from kdray.reporting.build_tables import build_tables
from kdray.reporting.compare import choices
from kdray.reporting.verdict import Verdict
from kdray.runner.facts import study_facts
from kdray.runner.named_model import CHAMPION
from kdray.runner.results import results_of
from kdray.runner.study import Study
from kdray.schema import Column, Split
from kdray.scoring.result import Result
from kdray.text.corpus import Corpus

EXAMPLES = 2  # sentences of dev that MLflow shows how to use a model with
MOST_WINNERS = 3  # of a grid with more scenarios, none is kept unless all are


def log_models(study: Study, verdicts: Sequence[Verdict], results: Sequence[Result]) -> None:
    """Give MLflow the students that it is to keep; those that it has are left alone."""
    config = study.experiment.execution.tracking
    chosen_methods = {(each.point, each.size): each.chosen for each in verdicts if each.chosen}
    winners = list(champions(study, chosen_methods, results))
    chosen = {"winner": winners, "all": list(study.plan.of(STUDENT)), "none": []}[config.models]
    if not study.runs.parent or (config.models == "winner" and len(winners) > MOST_WINNERS):
        return
    only = winners[0] if len(winners) == 1 else None
    for step in chosen:
        if study.is_made(step.key):
            _log(study, step, register_as=config.register_as if step == only else None)


def champions(
    study: Study, chosen: Mapping[tuple[Point, str], str], results: Sequence[Result]
) -> Iterator[Step]:
    """Of each scenario the student of the chosen method whose seed is the best on dev.

    Scenarios are named by their point, and by size and length in words.
    """
    main = Condition.of_beam(study.recipe.evaluation.main_beam)
    steps = {step.cell: step for step in study.plan.of(STUDENT)}
    for (point, group), method in chosen.items():
        of_method = [
            each
            for each in results
            if (each.cell.point, each.cell.group, each.cell.method) == (point, group, method)
            and (each.split, each.condition) == (Split.DEV, main)
        ]
        if of_method:
            yield steps[max(of_method, key=lambda each: each.bleu).cell]


def named_champions(study: Study) -> dict[str, Step]:
    """The champions of a study whose students are scored, by their names.

    The only one is called `champion`; where there are several, each is called so within its point
    of the grid, size and length, as in `noise=0.1/small/champion`.
    """
    at_rest = study.at_rest()
    results = [each for each in results_of(at_rest) if each.split == Split.DEV]
    tables = [table for table, _ in build_tables(results, study=study_facts(at_rest))]
    main = [table for table in tables if table.beam == study.recipe.evaluation.main_beam]
    chosen = {
        (point, group): method
        for point in dict.fromkeys(table.point for table in main)
        for group, method in choices(table for table in main if table.point == point).items()
    }
    best = list(champions(study, chosen, results))
    if len(best) == 1:
        return {CHAMPION: best[0]}
    return {_name(step): step for step in best}


def _name(champion: Step) -> str:
    cell = champion.cell
    assert cell is not None, "every student has one"
    length = [] if cell.length is None else [f"updates-{cell.length}"]
    return within(cell.point, "/".join([cell.size, *length, CHAMPION]))


def _log(study: Study, step: Step, *, register_as: str | None) -> None:
    corpus = Corpus(study.store.fetch(study.plan.scenario(step).text.clean.corpus))
    study.runs.tracker.log_model(
        study.runs.ids.get(step.key.fingerprint, ""),  # without continuing the run
        partial(_write, study, step),
        example=corpus.table(Split.DEV)[Column.SRC].to_pylist()[:EXAMPLES],
        register_as=register_as,
    )


def _write(study: Study, step: Step, folder: Path) -> None:
    """Fill a folder with what `kdray.tracking.translator` reads."""
    evaluation, student = study.recipe.evaluation, study.store.fetch(step.key)
    write_ctranslate2(CTranslate2Config(kind="ctranslate2"), student, folder)
    options = SearchOptions(beam=evaluation.main_beam, length_penalty=evaluation.length_penalty)
    names = ("beam", "length_penalty", "max_length_ratio", "max_length_slack")
    how = {name: getattr(options, name) for name in names}
    how["positions"] = load_shape(student).config.max_length
    write_json(folder / "decoding.json", how)
