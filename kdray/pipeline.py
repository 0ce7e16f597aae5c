"""The whole program on one page: a plan, the steps of a verb, their results, the report.

experiment -> make_plan: an ordered tuple of steps                  kdray.plan
steps      -> made, as far as they are missing                     kdray.runner.make
              whole, in shards, as trainings                       kdray.cluster
scores     -> results -> analysis (tables, verdicts) -> pages      kdray.reporting
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kdray.cell import TEACHER
from kdray.errors import InputError, StageFailed
from kdray.plan.step import (
    CHECKED,
    COMPLEXITY,
    CONVERTED,
    CORPUS,
    ENCODED,
    EXPORT,
    SCORER,
    SIGNALS,
    STUDENT,
    TEACHER_COMPLEXITY,
    TOKENIZER,
    Step,
    up_to,
)
from kdray.reporting.forms import NO_LIMITS, FormLimits
from kdray.runner.make import make_steps
from kdray.runner.reporting import (
    Findings,
    Measured,
    find,
    make_report,
    measured_in,
    within_limits,
    write_findings,
)
from kdray.runner.results import results_of
from kdray.runner.several import joined
from kdray.runner.study import Study
from kdray.storage.disk import disk_failure

if TYPE_CHECKING:
    from kdray.reporting.searches.facts import SearchFacts

LAST = {"decode": SIGNALS, "tune": SIGNALS, "train": STUDENT, "evaluate": SCORER}
"""The stage that a verb's steps end with; of the other verbs, all steps are."""
_OF_TEXT = (CORPUS, TOKENIZER, ENCODED, COMPLEXITY)
ONLY = {
    "complexity of text": _OF_TEXT,
    "complexity": (*_OF_TEXT, TEACHER, CONVERTED, CHECKED, TEACHER_COMPLEXITY),
}
"""Verbs whose steps are not the first ones, and the stages of these."""


def steps_of(study: Study, verb: str) -> tuple[Step, ...]:
    """The steps of a verb."""
    if verb in ONLY:
        return tuple(step for step in study.plan.steps if step.stage in ONLY[verb])
    return up_to(study.plan.steps, LAST.get(verb, EXPORT))


def run_steps(study: Study, verb: str) -> None:
    """Make the steps of a verb.

    Raises:
        KdrayError: a step could not be finished; what was made is kept.
    """
    make_steps(study, steps_of(study, verb))


def run_complexity(study: Study, verb: str) -> None:
    """Make the measures of the scenario, and what they need.

    Raises:
        KdrayError: a step could not be finished; what was made is kept.
    """
    run_steps(study, verb)
    for failure in study.failures.values():  # a study goes on without measures
        raise failure


def run_evaluation(study: Study) -> Findings:
    """Make everything up to the scores of all models."""
    make_steps(study, steps_of(study, "evaluate"))
    return find(_measured(study), study.display)


def run_study(study: Study) -> Findings:
    """Make everything. Students that fail are left out of the report and named in it."""
    make_steps(study, steps_of(study, "study"))
    return make_report(study, find(_measured(study), study.display))


def scored(study: Study) -> Measured:
    """What is measured of the models that are scored already.

    Raises:
        InputError: there is no such storage.
        StageFailed: none is scored.
    """
    store = study.store
    if store.remote is None and not store.root.is_dir():
        raise InputError(
            f"execution.storage {store.location}: there is no such folder, so nothing of "
            f"{study.experiment.name} is in it; name the storage of a study that was run, or run "
            "`python -m kdray.study` with the same configuration first"
        )
    at_rest = study.at_rest()
    if not (results := results_of(at_rest)):
        raise StageFailed(
            f"{store.location}: no model of {study.experiment.name} is scored; run `python "
            "-m kdray.evaluate` with the same configuration first"
        )
    return measured_in(at_rest, results)


def _measured(study: Study) -> Measured:
    """What is measured of a study in which nothing is made any more."""
    at_rest = study.at_rest()
    return measured_in(at_rest, results_of(at_rest))


def run_report(study: Study, folder: Path | None, limits: FormLimits = NO_LIMITS) -> Findings:
    """Write the report of the models that are scored already; without a page on a read-only disk.

    Within limits, it names the form of a student to take.

    Raises:
        StageFailed: none is.
    """
    measured = within_limits(scored(study), limits)
    return _written(study, find(measured, study.display), study.reports, folder)


def run_joint_report(
    studies: Sequence[Study], folder: Path | None, limits: FormLimits = NO_LIMITS
) -> Findings:
    """Write one report of several studies, into the first one's storage unless told where.

    Raises:
        ConfigError: they cannot be compared.
        StageFailed: no model of one of them is scored.
    """
    measured = within_limits(joined([scored(study) for study in studies]), limits)
    default = studies[0].reports.with_name(measured.facts.name[:100])
    return _written(studies[0], find(measured, studies[0].display), default, folder)


def _written(study: Study, findings: Findings, default: Path, folder: Path | None) -> Findings:
    """The findings with a page, unless the default place cannot be written to."""
    try:
        return write_findings(findings, folder or default, study.display)
    except OSError as error:
        if folder is not None:
            raise InputError(
                f"--into {folder}: {error.strerror or error}; name another folder"
            ) from None
        if (message := disk_failure(error, default)) is None:
            raise
        study.display.note(f"no page is written: {message}, or name another folder with --into")
        return findings


def run_search_path(study: Study) -> "SearchFacts":
    """Make what all trials share, search, and compare the winner, trained anew, on the tests.

    Raises:
        StageFailed: trials failed; the table holds the others.
    """
    from kdray.runner.search import run_search  # with Ray Tune
    from kdray.runner.search_space import check_search, search_notes

    searchable = check_search(study)
    for note in search_notes(study, searchable):
        study.display.note(note)
    run_steps(study, "tune")
    return run_search(study, searchable)


def check_complete(study: Study) -> None:
    """End a command whose study lacks students or scores with an error, after all else was done.

    Raises:
        StageFailed: some students or evaluations failed.
    """
    if study.notes:
        failed = "\n  ".join(study.notes)
        raise StageFailed(
            f"{len(study.notes)} students or scores failed; the report holds the others:"
            f"\n  {failed}"
        )
