"""The cells of a table as text, and whole tables for the terminal and for Markdown."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import rich.box
import rich.table
from rich.text import Text

from kdray.reporting.difference import Difference, Finding, Spread
from kdray.reporting.table import Row, Table
from kdray.statistics.multiplicity import LEVEL

NOTHING = "–"
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
    cell: Callable[[Row], str]
    is_number: bool = True
    short: str = ""  # heading in a terminal; empty: left out there, since not all columns fit
    of_lengths: bool = False  # shown only where several lengths are compared
    of_translations: bool = False  # shown only where there are some


COLUMNS = (
    Column("Size", lambda row: row.cell.size, is_number=False, short="Size"),
    Column(
        "Updates",
        lambda row: NOTHING if row.cell.length is None else str(row.cell.length),
        short="Upd.",
        of_lengths=True,
    ),
    Column("Method", lambda row: row.method, is_number=False, short="Method"),
    Column("Seeds", lambda row: str(len(row.seeds)), short="n"),
    Column("BLEU", lambda row: _spread(row.bleu), short="BLEU", of_translations=True),
    Column("chrF", lambda row: _spread(row.chrf), short="chrF", of_translations=True),
    Column("Δ BLEU", lambda row: _difference(row), short="Δ BLEU", of_translations=True),
    Column("95 % interval", lambda row: _interval(row.difference), of_translations=True),
    Column(
        "p",
        lambda row: p_value(row.difference.p if row.difference else None),
        short="p",
        of_translations=True,
    ),
    Column("Parameters", lambda row: count(row.num_params)),
    Column("Decoding tokens/s", lambda row: count(row.tokens_per_second), short="tok/s"),
    Column("Tokens trained on", lambda row: count(row.target_tokens)),
    Column("Training time", lambda row: duration(row.train_seconds)),
)


def columns_of(table: Table) -> tuple[Column, ...]:
    """The columns that the table has; those of other metrics than BLEU and chrF follow on p."""
    shown = [
        column
        for column in COLUMNS
        if (table.has_lengths or not column.of_lengths)
        and (table.is_translated or not column.of_translations)
    ]
    names = [name for name in table.signatures if name not in ("bleu", "chrf")]
    others = [column for name in names for column in _columns_of(name, table)]
    place = [column.heading for column in shown].index("Parameters")
    return (*shown[:place], *others, *shown[place:])


def _columns_of(metric: str, table: Table) -> list[Column]:
    """A metric, and if it comes from outside its difference to the baseline."""

    def score(row: Row) -> str:
        spread = row.scores.get(metric)
        if spread is None:
            return NOTHING
        return f"{spread.mean:.4g}" + ("" if spread.sd is None else f" ±{spread.sd:.2g}")

    def change(row: Row) -> str:
        if row.is_baseline:
            return "baseline"
        if row.difference is None or metric not in row.difference.others:
            return NOTHING
        by = row.difference.others[metric]
        return f"{by.mean:+.3g} (p {p_value(by.p)})"

    columns = [Column(metric, score)]
    if metric in table.metrics_from_outside:
        columns.append(Column(f"Δ {metric}", change))
    return columns


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
        style = "bold" if row.is_finding else "dim" if row.is_teacher else ""
        shown.add_row(*(Text(column.cell(row), style=style) for column in columns))
    return shown


def markdown(table: Table) -> str:
    """The table as GitHub Markdown, with its notes and footnotes below."""
    columns = columns_of(table)
    head = markdown_row(column.heading for column in columns)
    rule = markdown_row("---:" if column.is_number else "---" for column in columns)
    body = [markdown_row(column.cell(row) for column in columns) for row in table.rows]
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
    tests = "1 comparison" if table.num_tests == 1 else f"{table.num_tests} comparisons"
    if not table.is_translated:
        return [
            f"{table.num_segments} segments, whose references the models read. ± is the standard "
            "deviation over seeds.",
            "; ".join(f"{name}: {said}" for name, said in table.signatures.items()) + ".",
        ]
    from_outside = [
        f"{name}: {table.signatures[name]}, the mean over segments; p: paired bootstrap of that "
        "mean, two-sided, the largest over seeds, corrected after Holm by itself."
        for name in table.metrics_from_outside
    ]
    return [
        f"{table.num_segments} segments. ± is the standard deviation over seeds; in Δ, of both "
        f"sides together. Δ is to {table.baseline} of the same {same}, over common seeds; its "
        "interval covers the 95 % intervals of all seeds.",
        f"p: paired bootstrap of BLEU ({table.bootstrap_samples} resamples), two-sided, the "
        "largest over seeds, where a seed that points the other way counts as 1; corrected after "
        f"Holm for the {tests} of this table.",
        f"* p < {LEVEL} and |Δ| larger than its seed deviation. † p < {LEVEL}, but with one seed "
        "the seed noise is unknown. n.s.: not significant.",
        f"BLEU {table.signatures['bleu']}; chrF {table.signatures['chrf']}.",
        *from_outside,
    ]


def signed(points: float) -> str:
    """Metric points with a sign, as in `+0.84`; what rounds to zero has no sign."""
    rounded = f"{abs(points):.2f}"
    sign = "" if float(rounded) == 0 else "+" if points > 0 else "−"
    return f"{sign}{rounded}"


def p_value(p: float | None) -> str:
    """A p-value with three decimals, or `<0.001`."""
    if p is None:
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def count(number: float | None) -> str:
    """A large number in three digits, as in `12.3 M`."""
    if number is None:
        return NOTHING
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= 0.9995 * unit:
            return f"{number / unit:.3g}{name}"
    return f"{number:.3g}" if number < 100 else f"{number:.0f}"


def duration(seconds: float | None) -> str:
    """Hours and minutes, minutes and seconds, or seconds."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _spread(spread: Spread) -> str:
    return f"{spread.mean:.2f}" + ("" if spread.sd is None else f" ±{spread.sd:.2f}")


def _difference(row: Row) -> str:
    """Signed BLEU points, seed deviation and mark."""
    if row.is_baseline:
        return "baseline"
    difference = row.difference
    if difference is None:
        return NOTHING
    spread = "" if difference.sd is None else f" ±{difference.sd:.2f}"
    return f"{signed(difference.bleu)}{spread}{MARKS[difference.finding]}"


def _interval(difference: Difference | None) -> str:
    if difference is None or difference.ci_low is None or difference.ci_high is None:
        return NOTHING
    return f"{signed(difference.ci_low)} to {signed(difference.ci_high)}"
