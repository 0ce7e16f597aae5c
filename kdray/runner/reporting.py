"""The report of one study, or of several together, in files and in the tracker."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from kdray.artifacts import write_json
from kdray.config.costs import CostTable
from kdray.progress import Display
from kdray.reporting.analysis import Analysis, analyse
from kdray.reporting.curves import Curves
from kdray.reporting.facts import StudyFacts
from kdray.reporting.forms import FormLimits
from kdray.reporting.gates import GateReadings
from kdray.reporting.layout import terminal
from kdray.reporting.write import write_report
from kdray.runner.champion import log_models
from kdray.runner.costs import COSTS, costs_of
from kdray.runner.facts import study_facts
from kdray.runner.gate import gate_readings
from kdray.runner.results import curves_of
from kdray.runner.study import Study
from kdray.runner.told import tell_verdict
from kdray.scoring.result import Result

MANY_POINTS = 3  # of a grid: with more, a terminal would show tables without end


@dataclass(frozen=True)
class Measured:
    """What was measured of a study, and what there is to say of it besides."""

    facts: StudyFacts
    results: Sequence[Result]
    curves: Curves
    gates: Sequence[GateReadings]
    costs: CostTable | None = None  # of one study: what a budget of a later one reads


@dataclass(frozen=True)
class Findings:
    """What was measured, what it says, and the page, if one could be written."""

    measured: Measured
    analysis: Analysis
    page: Path | None = None

    @property
    def gates(self) -> Sequence[GateReadings]:
        """How the gates of students behave that have one."""
        return self.measured.gates

    @property
    def results(self) -> Sequence[Result]:
        """One of each model on each split under each condition."""
        return self.measured.results


def measured_in(study: Study, results: Sequence[Result]) -> Measured:
    """Put together what a report of the study is made of."""
    return Measured(
        facts=study_facts(study),
        results=results,
        curves=curves_of(study),
        gates=gate_readings(study),
        costs=costs_of(study),
    )


def within_limits(measured: Measured, limits: FormLimits) -> Measured:
    """The same, where a form of a student is to be named that stays within limits."""
    return replace(measured, facts=replace(measured.facts, limits=limits))


def find(measured: Measured, display: Display) -> Findings:
    """Compute what the measurements say.

    Raises:
        DataError: results and references do not belong together.
    """
    follow = partial(display.followed, "tables")
    return Findings(measured, analyse(measured.results, study=measured.facts, follow=follow))


def write_findings(findings: Findings, folder: Path, display: Display) -> Findings:
    """Write the report into a folder. -> the findings with its page."""
    measured = findings.measured
    write_report(
        folder,
        study=measured.facts,
        results=measured.results,
        analysis=findings.analysis,
        curves=measured.curves,
        gates=measured.gates,
        follow=partial(display.followed, "charts"),
    )
    if measured.costs is not None:
        write_json(folder / COSTS, measured.costs.model_dump(mode="json"))
    return replace(findings, page=folder / "report.html")


def make_report(study: Study, findings: Findings, folder: Path | None = None) -> Findings:
    """Write the report and attach it to the study's run. -> the findings with its page."""
    written = write_findings(findings, folder or study.reports, study.display)
    if folder is None:
        study.store.show(study.reports)
    study.runs.tracker.log_artifacts(study.runs.parent, folder or study.reports, "report")
    tell_verdict(study, findings.analysis)
    log_models(study, findings.analysis.verdicts, findings.results)
    return written


def show_findings(display: Display, findings: Findings) -> None:
    """Print the tables of the main beam, what a study says as a whole, and where the report is.

    The tables of a grid with many points are left to the report.
    """
    facts, analysis = findings.measured.facts, findings.analysis
    if len(facts.scenarios) <= MANY_POINTS or findings.page is None:
        for table in analysis.tables:
            if table.beam == facts.main_beam:
                display.console.print(terminal(table))
    if findings.page is None:
        return
    if facts.sharing:
        display.note(facts.sharing)
    for sentence in (analysis.overview.headline, *analysis.overview.sentences):
        display.note(sentence)
    for verdict in analysis.verdicts if len(analysis.verdicts) > 1 else ():
        display.note(f"{verdict.scenario}: {verdict.headline}")
    display.note(f"report: {findings.page}")
