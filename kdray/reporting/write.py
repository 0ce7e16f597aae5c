"""From measurements to a folder that answers the study's question: the one entry of reporting."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kdray.artifacts import write_json
from kdray.measures.measure import flat
from kdray.reporting.curves import Curves
from kdray.reporting.facts import StudyFacts
from kdray.reporting.pages import render_pages
from kdray.reporting.plots import draw_plots
from kdray.reporting.table import Table, build_tables
from kdray.reporting.verdict import verdicts
from kdray.scoring.result import Result


def write_report(
    folder: Path, *, study: StudyFacts, results: Sequence[Result], curves: Curves
) -> None:
    """Write `report.html`, `report.md`, `results.json` and `plots/`; an earlier report is replaced.

    Needs the files of translations that the results name; no model, no tracker, no network.

    Raises:
        ConfigError: the BLEU tokenizer cannot be used here.
        DataError: results, translations and references do not belong together.
    """
    tables = build_tables(results, study=study)
    said = verdicts(tables, main_beam=study.main_beam)
    folder.mkdir(parents=True, exist_ok=True)
    plots = draw_plots(folder / "plots", curves=curves, tables=tables, study=study)
    data = {
        "study": study.name,
        "results": [result.to_json() for result in results],
        "tables": [_table_json(table) for table in tables],
        "verdicts": [asdict(verdict) for verdict in said],
        "complexity": flat(study.complexity),
    }
    write_json(folder / "results.json", data)
    html, markdown = render_pages(study=study, verdicts=said, tables=tables, plots=plots)
    (folder / "report.md").write_text(markdown, encoding="utf-8")
    (folder / "report.html").write_text(html, encoding="utf-8")


def _table_json(table: Table) -> dict[str, Any]:
    data = asdict(table) | {"condition": table.condition.name}
    for row, shown in zip(table.rows, data["rows"], strict=True):
        cell = shown.pop("cell")
        shown |= {name: value for name, value in cell.items() if name != "seed"}
        if row.difference is not None:
            shown["difference"]["finding"] = row.difference.finding
    return data
