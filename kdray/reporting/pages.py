"""The report as an HTML page that needs no other file, no network and no script; as Markdown.

The templates say what a page holds, and this file how a value is written in it.
"""

import base64
import re
from collections.abc import Sequence

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from kdray.measures.measure import in_groups
from kdray.reporting.analysis import Analysis
from kdray.reporting.facts import StudyFacts
from kdray.reporting.layout import columns_of, footnotes, is_finding, markdown, markdown_text
from kdray.reporting.plots import Plot


def render_pages(
    *,
    study: StudyFacts,
    analysis: Analysis,
    plots: Sequence[Plot],
) -> tuple[str, str]:
    """The HTML page and the Markdown file, with all text escaped.

    HTML holds its pictures as data URIs. Markdown links them, for a code host or an editor.
    """
    environment = Environment(
        loader=PackageLoader("kdray.reporting"),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "columns": columns_of,
        "data_uri": _data_uri,
        "fact": fact,
        "footnotes": footnotes,
        "has_finding": is_finding,
        "markdown": markdown,
        "text": markdown_text,
    }
    recipe = yaml.safe_dump(dict(study.recipe), sort_keys=False, allow_unicode=True, width=88)
    html, text = (
        environment.get_template(f"report.{form}.j2").render(
            study=study,
            overview=analysis.overview,
            verdicts=analysis.verdicts,
            tables=analysis.tables,
            plots=plots,
            recipe=recipe,
            complexity=in_groups(study.complexity),
            # Of a code block in Markdown: longer than any run of backticks inside.
            fence=max(["``", *re.findall("`+", recipe)], key=len) + "`",
        )
        for form in ("html", "md")
    )
    return html, text


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


def _data_uri(plot: Plot) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(plot.svg.read_bytes()).decode("ascii")
