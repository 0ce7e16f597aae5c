"""The report as one HTML page that needs no other file, no network and no script."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from kdray.reporting.facts import StudyFacts
from kdray.reporting.layout import columns_of, footnotes, is_finding
from kdray.reporting.plots import Plot
from kdray.reporting.table import Row, Table
from kdray.reporting.verdict import Verdict


def html_page(
    *,
    study: StudyFacts,
    verdicts: Sequence[Verdict],
    tables: Sequence[Table],
    plots: Sequence[Plot],
) -> str:
    """The whole page. All text is escaped; pictures are data URIs."""
    environment = Environment(
        loader=PackageLoader("kdray.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["nested"] = lambda value: isinstance(value, Mapping)
    environment.filters["fact"] = fact
    return environment.get_template("report.html.j2").render(
        study=study,
        verdicts=verdicts,
        several_sizes=len(verdicts) > 1,
        main_tables=[_shown(table) for table in tables if table.beam == study.main_beam],
        other_tables=[_shown(table) for table in tables if table.beam != study.main_beam],
        plots=[(plot, _data_uri(plot)) for plot in plots],
        recipe=recipe_yaml(study),
    )


def recipe_yaml(study: StudyFacts) -> str:
    """The recipe as YAML, in its own order."""
    return yaml.safe_dump(dict(study.recipe), sort_keys=False, allow_unicode=True, width=88)


def fact(value: object) -> str:
    """A value as text: integers with a space between thousands, lists with commas."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(fact, value))
    return str(value)


def _shown(table: Table) -> dict[str, Any]:
    columns = columns_of(table)
    return {
        "title": table.title,
        "columns": columns,
        "rows": [
            {"cells": [column.cell(row) for column in columns], "kind": _kind(row)}
            for row in table.rows
        ],
        "notes": table.notes,
        "footnotes": footnotes(table),
    }


def _kind(row: Row) -> str:
    if row.is_teacher:
        return "teacher"
    if row.is_baseline:
        return "baseline"
    return "finding" if is_finding(row) else ""


def _data_uri(plot: Plot) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(plot.svg.read_bytes()).decode("ascii")
