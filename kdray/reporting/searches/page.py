"""The pages of a search: HTML that needs no other file and no network, Markdown, and JSON."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from kdray.artifacts import write_json
from kdray.config.search import METHOD
from kdray.reporting.analysis import Analysis
from kdray.reporting.charts.looks import TEACHER, looks_of
from kdray.reporting.facts import StudyFacts
from kdray.reporting.pages import Section, page_parts, policy, templates
from kdray.reporting.searches.facts import SearchFacts, score_of, shown, told, verdict_on
from kdray.reporting.searches.figures import SearchFigures, draw_search
from kdray.reporting.verdict import Verdict

JSON, MARKDOWN, HTML = "search.json", "search.md", "search.html"
HEADLINE_WITHOUT = "The winner was not trained anew, so nothing is known of it beyond dev."


@dataclass(frozen=True)
class Retrained:
    """The report of the winner: what was compared, the winner's name there, and where it lies.

    `link` leads there from the page of the search.
    """

    study: StudyFacts
    analysis: Analysis
    name: str
    link: str

    @property
    def verdict(self) -> Verdict | None:
        """What the tests say of the winner."""
        return verdict_on(self.analysis, self.name, main_beam=self.study.main_beam)


def write_search(folder: Path, facts: SearchFacts, retrained: Retrained | None) -> None:
    """Write `search.html`, `search.md` and `search.json`. Needs no model and no network."""
    folder.mkdir(parents=True, exist_ok=True)
    verdict = None if retrained is None else retrained.verdict
    told_of_it = (
        {} if verdict is None else {"headline": verdict.headline, "sentences": verdict.sentences}
    )
    write_json(folder / JSON, facts.to_json() | {"verdict": told_of_it or None})
    html, markdown = render_search(facts, retrained)
    (folder / MARKDOWN).write_text(markdown, encoding="utf-8")
    (folder / HTML).write_text(html, encoding="utf-8")


def render_search(facts: SearchFacts, retrained: Retrained | None) -> tuple[str, str]:
    """The HTML page and the Markdown file."""
    environment = templates()
    environment.filters |= {"score_of": score_of, "shown": shown, "told": told, "to_yaml": _yaml}
    style, script = page_parts()
    figures = draw_search(facts)
    html, markdown = (
        environment.get_template(f"search.{form}.j2").render(
            facts=facts,
            figures=figures,
            headline=_headline(retrained),
            sentences=_sentences(facts, retrained),
            tables=_tables(retrained),
            link=None if retrained is None else retrained.link,
            looks=_looks(retrained),
            sections=_sections(facts, figures, retrained),
            winner=_winner_yaml(facts),
            METHOD=METHOD,
            style=Markup(style),
            script=Markup(script),
            policy=policy(style=style, script=script),
        )
        for form in ("html", "md")
    )
    return html, markdown


def _headline(retrained: Retrained | None) -> str:
    if retrained is None:
        return HEADLINE_WITHOUT
    if (verdict := retrained.verdict) is None:
        return "The winner could not be trained and scored anew; its report says why."
    return verdict.headline


def _sentences(facts: SearchFacts, retrained: Retrained | None) -> list[str]:
    """Which trial won by which rule, then what the tests say of it."""
    if facts.winner is None:
        return ["No trial is finished and keeps the limits of the objectives."]
    winner, objectives = facts.winner, facts.config.objectives
    scores = ", ".join(
        f"{e.metric} {score_of(e.metric, winner.scores[e.metric])}" for e in objectives
    )
    said = [
        f"Trial {facts.number(winner)} of {len(facts.trials)} was chosen ({facts.rule}), with "
        f"{scores}: {told(winner.values)}."
    ]
    if retrained is None:
        return said
    said.append(
        f"It was trained anew with other seeds, as {retrained.name}, and scored on the tests once"
        f"{_on_dev(facts, retrained)}."
    )
    verdict = retrained.verdict
    # The first sentence says which method dev prefers, and here the search has chosen.
    return said if verdict is None else [*said, *verdict.sentences[1:]]


def _on_dev(facts: SearchFacts, retrained: Retrained) -> str:
    """What the first objective is with the fresh seeds, as the rest of a sentence."""
    metric = facts.config.first.metric.removeprefix("dev/")
    for table in _tables(retrained):
        for row in table.students() if table.is_dev else ():
            if row.method == retrained.name and metric in row.scores:
                spread = row.scores[metric]
                sd = "" if spread.sd is None else f" ± {spread.sd:.2f}"
                return (
                    f"; on dev these have {spread.mean:.2f}{sd} ({table.condition.title}), which "
                    "is what the trial's score is worth"
                )
    return ""


def _tables(retrained: Retrained | None) -> list[Any]:
    if retrained is None:
        return []
    return [t for t in retrained.analysis.tables if t.beam == retrained.study.main_beam]


def _looks(retrained: Retrained | None) -> dict[str, Any]:
    if retrained is None:
        return {}
    rows = [row for table in retrained.analysis.tables for row in table.rows]
    looks: dict[str, Any] = looks_of(
        (row.method for row in rows if not row.is_teacher), baseline=retrained.study.baseline
    )
    return looks | {row.method: TEACHER for row in rows if row.is_teacher}


def _sections(
    facts: SearchFacts, figures: SearchFigures, retrained: Retrained | None
) -> list[Section]:
    every: list[tuple[str, str, Any]] = [
        ("verdict", "Verdict", True),
        ("scores", "The winner beside the methods", _tables(retrained)),
        ("space", "All trials", True),
        ("importance", "Which dimensions matter", figures.importances),
        ("front", "Quality against cost", figures.fronts),
        ("stopping", "Early stopping", figures.curves or facts.regret.sentences),
        ("trials", "Trials one by one", True),
        ("config", "The search", True),
    ]
    return [Section(name, title) for name, title, there in every if there]


def _winner_yaml(facts: SearchFacts) -> str:
    """The winner's values, as dotted keys of its method, its training and its shape."""
    if facts.winner is None:
        return ""
    return _yaml(dict(facts.winner.values))


def _yaml(values: object) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=88)
