"""The trials of a search as a table for a terminal of 80 columns."""

from collections.abc import Mapping

import rich.box
from rich.table import Table
from rich.text import Text

from kdray.reporting.searches.facts import SearchFacts, score_of, short_names, told

HEADINGS: Mapping[str, str] = {
    "dev/bleu": "BLEU",
    "dev/chrf": "chrF",
    "dev/loss": "loss",
    "parameters": "params",
    "latency": "ms",
}


def trials_table(facts: SearchFacts) -> Table:
    """The trials, for 80 columns: fingerprints are whole, and values take several lines."""
    table = Table(title="Trials on dev", box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", justify="right", no_wrap=True)
    for each in facts.config.objectives:
        table.add_column(HEADINGS[each.metric], justify="right", no_wrap=True)
    table.add_column("upd.", justify="right", no_wrap=True)
    table.add_column("student", no_wrap=True)
    table.add_column("values", overflow="fold")
    names = short_names(list(facts.config.dimensions))
    for number, trial in enumerate(facts.trials, start=1):
        scores = [score_of(e.metric, trial.scores.get(e.metric)) for e in facts.config.objectives]
        state = "" if trial.is_finished else f" ({facts.state(trial)})"
        cells = [str(number), *scores, str(trial.step), trial.fingerprint]
        cells.append(f"{told(trial.values, names)}{state}")
        style = "bold" if trial is facts.winner else "dim" if trial.is_stopped else ""
        table.add_row(*(Text(cell, style=style) for cell in cells))
    return table
