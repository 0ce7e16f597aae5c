"""The search: students with other values over one teacher cache, and a verdict on the winner."""

from collections.abc import Mapping, Sequence
from typing import Any

from kdray.cluster.one_trial import Trial
from kdray.cluster.proposals import STEP, key_of
from kdray.cluster.trials import SearchJob, search
from kdray.config.space import Values, num_trials
from kdray.errors import StageFailed
from kdray.reporting.searches.facts import SearchFacts, score_of
from kdray.reporting.searches.page import HTML, Retrained, write_search
from kdray.reporting.searches.terminal import trials_table
from kdray.runner.reporting import show_findings
from kdray.runner.retrain import FOLDER, plan_retraining, retrain
from kdray.runner.search_space import Searchable
from kdray.runner.study import Study
from kdray.statistics.trials import TrialResult


def run_search(study: Study, searchable: Searchable) -> SearchFacts:
    """Run the search, train its winner anew, and write its pages.

    The text, the teacher and its signals must exist.

    Raises:
        StageFailed: trials failed, or there is no winner; the pages hold the others.
    """
    config = searchable.config
    paths = ", ".join(config.dimensions)
    judged = ", ".join(each.metric for each in config.objectives)
    study.display.stage("Search", f"{', '.join(config.methods)}: {paths} by {judged}")
    study.start_ray()
    results = _trials(study, searchable)
    facts = SearchFacts.of(study.experiment.name, config, results, task=searchable.task)
    write_search(study.reports, facts, None)  # before anything else can fail
    study.display.console.print(trials_table(facts))
    for sentence in facts.regret.sentences:
        study.display.note(sentence)
    retrained = _retrained(study, searchable, facts)
    write_search(study.reports, facts, retrained)
    study.store.show(study.reports)
    study.runs.tracker.log_artifacts(study.runs.parent, study.reports, "search")
    study.display.note(f"written to {study.reports / HTML}")
    _check(study, facts)
    return facts


def _trials(study: Study, searchable: Searchable) -> list[TrialResult]:
    """Run them, with a bar for each."""
    config = searchable.config
    trial = Trial(
        config=config,
        step_of=searchable.candidates.step,
        store=study.store,
        tracker=study.runs.tracker,
        parent_run=study.runs.parent,
        beam=study.recipe.evaluation.main_beam,
    )
    job = SearchJob(trial, searchable.first, searchable.last, searchable.earlier)
    with study.display.bars() as bars:

        def watch(latest: Sequence[Mapping[str, Any]]) -> None:
            for number, metrics in enumerate(latest, start=1):
                if metrics and STEP in metrics:
                    score = score_of(config.first.metric, metrics[key_of(0)])
                    note = f"{config.first.metric} {score}"
                    bars.move(f"trial {number}", int(metrics[STEP]), searchable.last, note)

        return search(job, execution=study.experiment.execution, watch=watch)


def _retrained(study: Study, searchable: Searchable, facts: SearchFacts) -> Retrained | None:
    """The winner's report, if there is a winner and it is wanted."""
    if facts.winner is None or searchable.config.retrain is None:
        return None
    values: Values = facts.winner.values
    planned = plan_retraining(study, searchable.candidates, values)
    seeds = ", ".join(map(str, planned.experiment.recipe.students.seeds))
    study.display.stage("Winner", f"trial {facts.number(facts.winner)} anew, seeds {seeds}")
    findings = retrain(study, planned)
    show_findings(study.display, findings)
    link = f"{FOLDER}/report.html"
    return Retrained(findings.measured.facts, findings.analysis, planned.name, link)


def _check(study: Study, facts: SearchFacts) -> None:
    """End with an error where trials failed, or none can win.

    Raises:
        StageFailed: as it says.
    """
    if failed := facts.failed:
        raise StageFailed(
            f"{len(failed)} of {len(facts.trials)} trials failed, first: {failed[0].error}; "
            "the others are in the table"
        )
    if facts.winner is None:
        raise StageFailed(
            f"none of {num_trials(facts.config)} trials is finished and keeps the limits of "
            "search.objectives; raise the limits, or search longer"
        )
