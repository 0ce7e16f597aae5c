"""All charts of a report, in the order in which they are read."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kdray.cell import shown
from kdray.reporting.along import Along
from kdray.reporting.analysis import Analysis
from kdray.reporting.charts.spec import Chart
from kdray.reporting.curves import Curves
from kdray.reporting.facts import StudyFacts
from kdray.reporting.figures.along import draw_along, shown_crossings
from kdray.reporting.figures.forms import draw_forms
from kdray.reporting.figures.gate import draw_gate, draw_gates_by_scenario
from kdray.reporting.figures.learning import draw_learning
from kdray.reporting.figures.methods import Looks, looks_of_study
from kdray.reporting.figures.slices import draw_slices
from kdray.reporting.figures.trade import draw_trades
from kdray.reporting.figures.winners import Winners, winners_of
from kdray.reporting.gates import GateReadings
from kdray.reporting.table import Table

Titled = tuple[str, Sequence[Chart]]  # charts that stand in one row


@dataclass(frozen=True)
class AlongFigure:
    """One axis on one test: its chart, and what is said of it."""

    number: int  # from 1
    along: Along
    chart: Chart
    title: str
    sentences: Sequence[str]
    signs: dict[tuple[str, str], str]  # numbers of the crossings in the chart, by pair

    @property
    def axis(self) -> str:
        """Its name."""
        return self.along.axis

    @property
    def finding(self) -> str | None:
        """What a reader has to know first: where methods change places, else what changes."""
        marks = self.chart.panels[0].marks
        if marks:
            return " ".join(dict.fromkeys(mark.told for mark in marks))
        changes = [pair.change for pair in self.along.pairs]
        is_shown = any(change is not None and change.is_finding for change in changes)
        return self.told[0] if is_shown else None

    @property
    def told(self) -> Sequence[str]:
        """The sentences but for what the caption says."""
        return self.sentences[1:] if len(self.along.over) > 1 else self.sentences


@dataclass(frozen=True)
class Figures:
    """What is drawn of a study."""

    looks: Looks
    winners: Winners | None
    alongs: Sequence[AlongFigure]
    gates: Sequence[Titled]
    gates_by_scenario: Chart | None
    trades: Sequence[tuple[Table, Sequence[Chart]]]
    forms: Sequence[Titled]
    slices: Sequence[Titled]
    learning: Sequence[Chart]
    metrics: Sequence[Chart]  # logged ones that only tell whether training went wrong

    @property
    def files(self) -> list[tuple[str, Chart]]:
        """Every chart with the name of its file, without a suffix."""
        rows = [row for _, row in (*self.trades, *self.forms, *self.slices)]
        charts = [
            *(each.chart for each in self.alongs),
            *(chart for row in rows for chart in row),
            *([self.gates_by_scenario] if self.gates_by_scenario else []),
            *(chart for _, row in self.gates for chart in row),
            *self.learning,
            *self.metrics,
        ]
        width = len(str(len(charts)))
        return [
            (f"{number:0{max(2, width)}d}-" + re.sub(r"[^\w.-]+", "-", chart.name)[:80], chart)
            for number, chart in enumerate(charts, start=1)
        ]


def draw_study(
    *,
    study: StudyFacts,
    analysis: Analysis,
    curves: Curves,
    gates: Sequence[GateReadings],
) -> Figures:
    """Say what is drawn; nothing is made into SVG yet."""
    cells = [row.cell for table in analysis.tables for row in table.rows]
    looks = looks_of_study(
        [*cells, *curves, *(each.cell for each in gates)], baseline=study.baseline
    )
    main = [table for table in analysis.tables if table.beam == study.main_beam]
    tested = [table for table in main if not table.is_dev] or main
    learning, metrics = draw_learning(curves, looks)
    axes = zip(analysis.alongs, analysis.overview.axes, strict=True)
    return Figures(
        looks=looks,
        winners=winners_of(analysis.verdicts, analysis.tables, main_beam=study.main_beam),
        alongs=[
            AlongFigure(
                number, along, draw_along(along, looks), title, told, shown_crossings(along)
            )
            for number, (along, (title, told)) in enumerate(axes, start=1)
        ],
        trades=[(table, charts) for table in tested if (charts := draw_trades(table, looks))],
        forms=list(_forms(study, tested, looks)),
        slices=[
            (f"{each.split}, {each.scenario}", draw_slices(each, looks)) for each in analysis.slices
        ],
        gates=[
            (f"{each.cell.method}, {each.cell.place}", draw_gate(each, looks)) for each in gates
        ],
        gates_by_scenario=draw_gates_by_scenario(gates, looks),
        learning=learning,
        metrics=metrics,
    )


def _forms(study: StudyFacts, tested: Sequence[Table], looks: Looks) -> Iterator[Titled]:
    """The charts of exported forms, for each table of a test that has some."""
    for table in tested:
        here = [form for form in study.forms if form.cell.point == table.point]
        if charts := draw_forms(here, table.split, looks):
            yield ", ".join(filter(None, [shown(table.point), table.split])), charts
