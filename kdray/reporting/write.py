"""From measurements to a folder that answers the study's question: the one entry of reporting."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kdray.artifacts import write_json
from kdray.measures.measure import flat
from kdray.reporting.analysis import Analysis
from kdray.reporting.charts.draw import draw_file
from kdray.reporting.charts.spec import Chart
from kdray.reporting.curves import Curves
from kdray.reporting.facts import StudyFacts
from kdray.reporting.figures.study import draw_study
from kdray.reporting.flat import write_csv
from kdray.reporting.gates import GateReadings
from kdray.reporting.pages import render_pages
from kdray.reporting.table import Table
from kdray.scoring.result import Result

File = tuple[str, Chart]


def write_report(
    folder: Path,
    *,
    study: StudyFacts,
    results: Sequence[Result],
    analysis: Analysis,
    curves: Curves,
    gates: Sequence[GateReadings] = (),
    follow: Callable[[Sequence[File]], Iterable[File]] = iter,
) -> None:
    """Write `report.html`, `report.md`, `results.json`, `results.csv` and `charts/`.

    An earlier report is replaced. Needs no model, no tracker, no network. Whoever wants to show
    progress lets `follow` hand out the charts.

    Raises:
        DataError: results, translations and references do not belong together.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = draw_study(study=study, analysis=analysis, curves=curves, gates=gates)
    _save(folder / "charts", follow(figures.files))
    data = {
        "study": study.name,
        "results": [result.to_json() for result in results],
        "tables": [_table_json(table) for table in analysis.tables],
        "overview": asdict(analysis.overview),
        "verdicts": [asdict(verdict) for verdict in analysis.verdicts],
        "axes": [asdict(along) for along in analysis.alongs],
        "slices": [asdict(slices) for slices in analysis.slices],
        "examples": [asdict(example) for example in analysis.examples],
        "complexity": flat(study.complexity),
        "gates": [readings.to_json() for readings in gates],
        "forms": [asdict(form) for form in study.forms],
    }
    write_json(folder / "results.json", data)
    write_csv(folder / "results.csv", analysis.tables)
    html, markdown = render_pages(study=study, analysis=analysis, figures=figures)
    (folder / "report.md").write_text(markdown, encoding="utf-8")
    (folder / "report.html").write_text(html, encoding="utf-8")


def _save(folder: Path, charts: Iterable[File]) -> None:
    """Write each chart as SVG; those of an earlier report are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    for name, chart in charts:
        (folder / f"{name}.svg").write_text(draw_file(chart), encoding="utf-8")


def _table_json(table: Table) -> dict[str, Any]:
    data = asdict(table) | {"condition": table.condition.name}
    data["lower_is_better"] = sorted(table.lower_is_better)
    for row in data["rows"]:
        cell = row.pop("cell")
        row |= {name: value for name, value in cell.items() if name != "seed"}
    for each, shown in zip(table.differences, data["differences"], strict=True):
        shown["finding"] = each.finding
    return data
