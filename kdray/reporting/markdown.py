"""The report as one Markdown file that links its plots, for a code host or an editor."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdray.reporting.facts import StudyFacts
from kdray.reporting.html import fact, recipe_yaml
from kdray.reporting.layout import markdown, markdown_text
from kdray.reporting.plots import Plot
from kdray.reporting.table import Table
from kdray.reporting.verdict import Verdict


def markdown_page(
    *,
    study: StudyFacts,
    verdicts: Sequence[Verdict],
    tables: Sequence[Table],
    plots: Sequence[Plot],
    folder: Path,
) -> str:
    """The whole page; pictures are linked relative to `folder`."""
    blocks = [f"# {markdown_text(study.name)}", *_verdict_blocks(study, verdicts)]
    blocks += [f"> {markdown_text(note)}" for note in study.notes]
    blocks.append(markdown_text(study.sharing))
    blocks.append("## Scores")
    for table in tables:
        blocks += [f"### {markdown_text(table.title)}", markdown(table).rstrip("\n")]
    blocks += ["## Plots"] if plots else []
    for plot in plots:
        link = plot.png.relative_to(folder).as_posix()
        blocks += [f"![{markdown_text(plot.title)}]({link})", markdown_text(plot.caption)]
    blocks += ["## Corpus", "\n".join(_nested(study.corpus))]
    blocks += ["## Recipe", _fenced(recipe_yaml(study))]
    blocks += ["## Provenance", "\n".join(_nested(study.fingerprints))]
    blocks += ["\n".join(_nested(study.versions))]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _verdict_blocks(study: StudyFacts, verdicts: Sequence[Verdict]) -> list[str]:
    if not verdicts:
        return [f"> There are no scores of students at beam {study.main_beam}, so no verdict."]
    blocks = []
    for verdict in verdicts:
        size = f"Size {markdown_text(verdict.size)}: " if len(verdicts) > 1 else ""
        blocks.append(f"**{size}{markdown_text(verdict.headline)}**")
        blocks.append("\n".join(f"- {markdown_text(text)}" for text in verdict.sentences))
    return blocks


def _nested(facts: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield f"{indent}- {markdown_text(name)}"
            yield from _nested(value, f"{indent}  ")
        else:
            yield f"{indent}- {markdown_text(name)}: {markdown_text(fact(value))}"


def _fenced(text: str) -> str:
    """A code block whose fence is longer than any run of backticks inside."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}yaml\n{text}{fence}"
