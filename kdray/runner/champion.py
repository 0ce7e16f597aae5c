"""Students that MLflow keeps as models: the winner of each scenario, or all, as is configured."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from kdray.artifacts import write_json
from kdray.condition import Condition
from kdray.config.export import CTranslate2Config
from kdray.export.forms import write_ctranslate2
from kdray.model.generate import SearchOptions
from kdray.model.storage import load_shape
from kdray.plan.step import STUDENT, Step
from kdray.reporting.verdict import Verdict
from kdray.runner.study import Study
from kdray.schema import Column, Split
from kdray.scoring.result import Result
from kdray.text.corpus import Corpus

EXAMPLES = 2  # sentences of dev that MLflow shows how to use a model with
MOST_WINNERS = 3  # of a grid with more scenarios, none is kept unless all are


def log_models(study: Study, verdicts: Sequence[Verdict], results: Sequence[Result]) -> None:
    """Give MLflow the students that it is to keep; those that it has are left alone."""
    config = study.experiment.execution.tracking
    winners = list(_winners(study, verdicts, results))
    chosen = {"winner": winners, "all": list(study.plan.of(STUDENT)), "none": []}[config.models]
    if not study.runs.parent or (config.models == "winner" and len(winners) > MOST_WINNERS):
        return
    only = winners[0] if len(winners) == 1 else None
    for step in chosen:
        if study.is_made(step.key):
            _log(study, step, register_as=config.register_as if step == only else None)


def _winners(
    study: Study, verdicts: Sequence[Verdict], results: Sequence[Result]
) -> Iterator[Step]:
    """Of each scenario the student of the chosen method whose seed is the best on dev."""
    main = Condition.of_beam(study.recipe.evaluation.main_beam)
    steps = {step.cell: step for step in study.plan.of(STUDENT)}
    for verdict in verdicts:
        place = (verdict.point, verdict.size, verdict.chosen)
        of_method = [
            each
            for each in results
            if (each.cell.point, each.cell.group, each.cell.method) == place
            and (each.split, each.condition) == (Split.DEV, main)
        ]
        if of_method:
            yield steps[max(of_method, key=lambda each: each.bleu).cell]


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
