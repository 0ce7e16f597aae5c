"""The report as an HTML page that needs no other file and no network, and as Markdown.

The templates say what a page holds, `sections` which of its sections a study has, and
`values` how a value is written. A policy in the page lets nothing run but its own script.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from kdray.errors import redacted
from kdray.measures.measure import in_groups
from kdray.reporting.analysis import Analysis
from kdray.reporting.charts.draw import chart_style, draw_panels, swatch
from kdray.reporting.charts.spec import NARROW, SMALL, Chart
from kdray.reporting.facts import StudyFacts
from kdray.reporting.figures.study import Figures
from kdray.reporting.figures.winners import SIGNS
from kdray.reporting.forms import FORM_HEADINGS, form_cells
from kdray.reporting.layout import (
    columns_of,
    cost_columns,
    footnotes,
    is_finding,
    markdown,
    markdown_text,
)
from kdray.reporting.numbers import p_value, signed
from kdray.reporting.values import (
    advantage,
    beside,
    by_place,
    by_point,
    change,
    common_keys,
    crossing,
    fact,
    plain,
    subtitle,
)

FILTERS = {
    "advantage": advantage,
    "beside": beside,
    "change": change,
    "columns": columns_of,
    "cost_columns": cost_columns,
    "common_keys": common_keys,
    "crossing": crossing,
    "fact": fact,
    "form_cells": form_cells,
    "footnotes": footnotes,
    "groups_by_place": by_place,
    "groups_by_point": by_point,
    "has_finding": is_finding,
    "markdown": markdown,
    "p": p_value,
    "plain": plain,
    "panels": draw_panels,
    "sign": SIGNS.__getitem__,
    "signed": signed,
    "swatch": swatch,
    "text": markdown_text,
}


@dataclass(frozen=True)
class Section:
    """A part of the page: the name of its template and anchor, and its heading."""

    name: str
    title: str


def render_pages(*, study: StudyFacts, analysis: Analysis, figures: Figures) -> tuple[str, str]:
    """The HTML page and the Markdown file, with all text escaped.

    HTML holds its charts. Markdown links them as files in `charts/`.
    """
    environment = templates()
    recipe = yaml.safe_dump(redacted(study.recipe), sort_keys=False, allow_unicode=True, width=88)
    style, script = page_parts()
    html, text = (
        environment.get_template(f"report.{form}.j2").render(
            study=study,
            analysis=analysis,
            figures=figures,
            looks=figures.looks,
            winners=figures.winners,
            findings=[each for each in figures.alongs if each.finding],
            sections=sections(study, analysis, figures),
            subtitle=subtitle(study, analysis),
            recipe=recipe,
            form_headings=FORM_HEADINGS,
            complexity=in_groups(study.complexity),
            # Of a code block in Markdown: longer than any run of backticks inside.
            fence=max(["``", *re.findall("`+", recipe)], key=len) + "`",
            style=Markup(style),
            script=Markup(script),
            policy=policy(style=style, script=script),
        )
        for form in ("html", "md")
    )
    return html, text


def sections(study: StudyFacts, analysis: Analysis, figures: Figures) -> list[Section]:
    """The sections that there is something to show in, in the order of the page."""
    every: list[tuple[str, str, Any]] = [
        ("verdict", "Verdict", True),
        ("scenarios", "Which method where", figures.winners),
        ("axes", "Along the axes", figures.alongs),
        ("scores", "Scores", analysis.tables),
        ("cost", "Quality against cost", figures.trades),
        ("forms", "Forms to take home", study.forms),
        ("gate", "Gate", figures.gates),
        ("learning", "Learning curves", figures.learning or figures.metrics),
        ("slices", "By length and rarity", figures.slices),
        ("sentences", "Where methods differ most", analysis.examples),
        ("corpus", "Corpus", study.corpus),
        ("complexity", "Complexity", study.complexity),
        ("recipe", "Recipe", True),
        ("provenance", "Provenance", True),
    ]
    return [Section(name, title) for name, title, there in every if there]


def rows(charts: Sequence[Chart]) -> list[list[Chart]]:
    """Charts that stand beside each other, since they have one panel each; others are alone."""
    found: list[list[Chart]] = []
    for chart in charts:
        before = found[-1][0] if found else chart
        if found and len(before.panels) == len(chart.panels) == 1 and before.size == chart.size:
            found[-1].append(chart)
        else:
            found.append([chart])
    return found


def grid(chart: Chart) -> str:
    """The class of the grid that the chart's panels stand in."""
    return "narrow" if chart.size in (NARROW, SMALL) else "wide"


def templates() -> Environment:
    """The templates of pages, which escape all text, and what turns values into text."""
    environment = Environment(
        loader=PackageLoader("kdray.reporting"),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS | {"grid": grid, "rows": rows}
    return environment


def page_parts() -> tuple[str, str]:
    """The style sheet and the script of a page."""
    return chart_style() + _template("page.css"), _template("page.js")


def _template(name: str) -> str:
    return (files("kdray.reporting") / "templates" / name).read_text(encoding="utf-8")


def policy(**parts: str) -> str:
    """A content security policy: this style and this script, and nothing else from anywhere."""
    allowed = [
        f"{kind}-src 'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
        for kind, text in parts.items()
    ]
    return "; ".join(["default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'"])
