"""The cells of a table as text, and whole tables for the terminal and for Markdown."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import rich.box
import rich.table
from rich.text import Text

from kdray.reporting.difference import Difference, Finding
from kdray.reporting.numbers import NOTHING, count, duration, p_value, signed
from kdray.reporting.table import Row, Spread, Table
from kdray.statistics.multiplicity import LEVEL

NAMES = ("Size", "Updates", "Method", "Seeds")  # columns that say which row it is
MARKS = {
    Finding.SIGNIFICANT: " *",
    Finding.NOT_SIGNIFICANT: " n.s.",
    Finding.SEED_NOISE_UNKNOWN: " †",
    Finding.UNTESTED: "",
}


@dataclass(frozen=True)
class Column:
    """A column: its heading, and the text of its cell in a row."""

    heading: str
    cell: Callable[[Table, Row], str]
    is_number: bool = True
    short: str = ""  # heading in a terminal; empty: left out there, since not all columns fit
    of_lengths: bool = False  # shown only where several lengths are compared
    of_translations: bool = False  # shown only where there are some
    of_tests: bool = False  # not shown on dev, which chooses and is not tested
    of_cost: bool = False  # says nothing of quality; a page shows it elsewhere


COLUMNS = (
    Column("Size", lambda _, row: row.cell.size, is_number=False, short="Size"),
    Column(
        "Updates",
        lambda _, row: NOTHING if row.cell.length is None else str(row.cell.length),
        short="Upd.",
        of_lengths=True,
    ),
    Column("Method", lambda _, row: row.method, is_number=False, short="Method"),
    Column("Seeds", lambda _, row: str(len(row.seeds)), short="n"),
    Column("BLEU", lambda _, row: _spread(row.bleu), short="BLEU", of_translations=True),
    Column("chrF", lambda _, row: _spread(row.chrf), short="chrF", of_translations=True),
    Column("Δ BLEU", lambda *row: _to_baseline(*row), short="Δ BLEU", of_translations=True),
    Column("95 % interval", lambda *row: _interval(*row), of_translations=True),
    Column(
        "p",
        lambda table, row: p_value(_p(table.to_baseline(row))),
        short="p",
        of_translations=True,
        of_tests=True,
    ),
    Column(
        "Judges who would agree",
        lambda table, row: _agreement(table.to_baseline(row)),
        of_translations=True,
        of_tests=True,
    ),
    Column("Parameters", lambda _, row: count(row.num_params), of_cost=True),
    Column(
        "Decoding tokens/s",
        lambda _, row: count(row.tokens_per_second),
        short="tok/s",
        of_cost=True,
    ),
    Column("Updates trained", lambda _, row: count(row.updates), of_cost=True),
    Column("Tokens trained on", lambda _, row: count(row.target_tokens), of_cost=True),
    Column("Training time", lambda _, row: duration(row.train_seconds), of_cost=True),
)


def columns_of(table: Table) -> tuple[Column, ...]:
    """The columns that the table has; those of other metrics than BLEU and chrF follow on p."""
    shown = [
        column
        for column in COLUMNS
        if (table.has_lengths or not column.of_lengths)
        and (table.is_translated or not column.of_translations)
        and not (table.is_dev and column.of_tests)
    ]
    names = [name for name in table.signatures if name not in ("bleu", "chrf")]
    others = [column for name in names for column in _columns_of(name, table)]
    place = [column.heading for column in shown].index("Parameters")
    return (*shown[:place], *others, *shown[place:])


def cost_columns(columns: Iterable[Column]) -> list[Column]:
    """The columns that say what a model costs, after those that name it."""
    return [each for each in columns if each.of_cost or each.heading in NAMES]


def _columns_of(metric: str, table: Table) -> list[Column]:
    """A metric, and if it comes from outside its difference to the baseline."""

    def score(_: Table, row: Row) -> str:
        spread = row.scores.get(metric)
        if spread is None:
            return NOTHING
        return f"{spread.mean:.4g}" + ("" if spread.sd is None else f" ±{spread.sd:.2g}")

    def change(table: Table, row: Row) -> str:
        if row.is_baseline:
            return "baseline"
        by = table.to_baseline(row, metric)
        if by is None:
            return NOTHING
        return f"{by.value:+.3g}" + ("" if by.p is None else f" (p {p_value(by.p)})")

    columns = [Column(metric, score)]
    if metric in table.metrics_from_outside:
        columns.append(Column(f"Δ {metric}", change))
    return columns


def is_finding(table: Table, row: Row) -> bool:
    """Whether a row differs from the baseline, in either direction, as far as a test can show."""
    difference = table.to_baseline(row)
    return difference is not None and difference.is_finding


def terminal(table: Table) -> rich.table.Table:
    """The table for a terminal, with its footnotes as caption."""
    columns = [column for column in columns_of(table) if column.short]
    shown = rich.table.Table(
        title=Text(table.title, style="bold"),
        caption=Text("\n".join([*table.notes, *footnotes(table)]), style="dim", justify="left"),
        box=rich.box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in columns:
        side: Literal["left", "right"] = "right" if column.is_number else "left"
        shown.add_column(column.short, justify=side, no_wrap=not column.is_number)
    for row in table.rows:
        style = "bold" if is_finding(table, row) else "dim" if row.is_teacher else ""
        shown.add_row(*(Text(column.cell(table, row), style=style) for column in columns))
    return shown


def markdown(table: Table) -> str:
    """The table as GitHub Markdown, with its notes and footnotes below."""
    columns = columns_of(table)
    head = markdown_row(column.heading for column in columns)
    rule = markdown_row("---:" if column.is_number else "---" for column in columns)
    body = [markdown_row(column.cell(table, row) for column in columns) for row in table.rows]
    below = [f"> {markdown_text(note)}\n" for note in table.notes]
    below += [f"{markdown_text(note)}\n" for note in footnotes(table)]
    return "\n".join([head, rule, *body, "", *below])


def markdown_row(cells: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(map(markdown_text, cells)) + " |"


def markdown_text(text: str) -> str:
    """Escape a text so that Markdown shows it as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>|~$&])", r"\\\1", " ".join(text.split()))


def footnotes(table: Table) -> list[str]:
    """What columns and marks mean, and how scores were computed."""
    same = "size and length" if table.has_lengths else "size"
    if not table.is_translated:
        return [
            f"{table.num_segments} segments, whose references the models read. ± is the standard "
            "deviation over seeds.",
            "; ".join(f"{name}: {said}" for name, said in table.signatures.items()) + ".",
        ]
    from_outside = [
        f"{name}: {table.signatures[name]}, the mean over segments; its p is corrected by itself."
        for name in table.metrics_from_outside
    ]
    tested = [
        f"p: t test with the noise of sentences ({table.bootstrap_samples} resamples) and of "
        f"seeds, corrected after Holm over all comparisons of the report. * p < {LEVEL}. n.s.: not "
        f"significant. † p < {LEVEL} for these very models, but with one seed the seed noise is "
        "unknown.",
    ]
    return [
        f"{table.num_segments} segments. ± is the standard deviation over seeds. Δ is to "
        f"{table.baseline} of the same {same}, with its 95 % interval over other sentences and "
        "other seeds.",
        *([] if table.is_dev else tested),
        f"BLEU {table.signatures['bleu']}; chrF {table.signatures['chrf']}.",
        *from_outside,
    ]


def _spread(spread: Spread) -> str:
    return f"{spread.mean:.2f}" + ("" if spread.sd is None else f" ±{spread.sd:.2f}")


def _to_baseline(table: Table, row: Row) -> str:
    """Signed BLEU points and mark."""
    if row.is_baseline:
        return "baseline"
    difference = table.to_baseline(row)
    if difference is None:
        return NOTHING
    return f"{signed(difference.value)}{'' if table.is_dev else MARKS[difference.finding]}"


def _p(difference: Difference | None) -> float | None:
    return None if difference is None else difference.p


def _agreement(difference: Difference | None) -> str:
    return difference.agreement if difference is not None and difference.agreement else NOTHING


def _interval(table: Table, row: Row) -> str:
    difference = table.to_baseline(row)
    if difference is None or difference.low is None or difference.high is None:
        return NOTHING
    return f"{signed(difference.low)} to {signed(difference.high)}"
