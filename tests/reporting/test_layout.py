"""Every form of a table shows the same numbers and marks, and escapes what users named."""

import io
import re

import pytest
import rich.console

from kdray.reporting.layout import (
    COLUMNS,
    columns_of,
    count,
    duration,
    footnotes,
    markdown,
    markdown_text,
    p_value,
    signed,
    terminal,
)
from kdray.reporting.table import build_tables


@pytest.fixture
def table(study):
    for seed in (1, 2, 3):
        study.run("ce", error=0.4, seed=seed)
        study.run("better", error=0.05, seed=seed)
        study.run("similar_one", error=0.4, seed=seed)
    study.run("lone", error=0.05)
    study.run("teacher", error=0.02, role="teacher", size="base", target_tokens=None)
    (only_table,) = build_tables(study.results, study=study.facts())
    return only_table


def cells(markdown_table, method):
    columns = [column for column in COLUMNS if not column.of_lengths]
    for line in markdown_table.splitlines():
        parts = [part.strip() for part in re.split(r"(?<!\\)\|", line)][1:-1]
        if len(parts) == len(columns) and parts[1] == method:
            return dict(zip([column.heading for column in columns], parts, strict=True))
    raise AssertionError(f"no row {method} in\n{markdown_table}")


def test_markdown_marks_findings_and_only_those(table):
    text = markdown(table)
    assert re.fullmatch(r"\+\d+\.\d\d ±\d+\.\d\d \\\*", cells(text, "better")["Δ BLEU"])
    assert cells(text, "similar\\_one")["Δ BLEU"].endswith("n.s.")
    assert re.fullmatch(r"\+\d+\.\d\d †", cells(text, "lone")["Δ BLEU"])
    assert cells(text, "ce")["Δ BLEU"] == "baseline"
    assert cells(text, "teacher")["Δ BLEU"] == "–"


def test_markdown_shows_what_a_reader_compares(table):
    shown = cells(markdown(table), "better")
    assert shown["Seeds"] == "3"
    assert shown["Parameters"] == "1.25 M"
    assert shown["Decoding tokens/s"] == "5 k"
    assert shown["Tokens trained on"] == "40 M"
    assert shown["Training time"] == "1 h 02 min"
    assert " to +" in shown["95 % interval"]
    assert cells(markdown(table), "teacher")["Tokens trained on"] == "–"


def test_lengths_have_a_column_where_there_are_some(study, table):
    assert "Updates" not in markdown(table)
    study.results.clear()
    study.run("ce", error=0.4, length=400)
    study.run("ce", error=0.4, length=800)
    study.run("teacher", error=0.1, role="teacher")
    (other,) = build_tables(study.results, study=study.facts())
    assert [column.heading for column in columns_of(other)][:3] == ["Size", "Updates", "Method"]
    lines = markdown(other).splitlines()
    assert [line.split(" | ")[1] for line in lines[2:5]] == ["–", "400", "800"]
    assert "of the same size and length" in footnotes(other)[0]


def test_footnotes_explain_correction_rule_and_signature(table):
    text = " ".join(footnotes(table))
    for part in ("Holm", "3 comparisons", "largest over seeds", "200 resamples", "40 segments"):
        assert part in text
    assert table.signatures["bleu"] in text
    assert table.signatures["chrf"] in text
    assert all(markdown_text(note) in markdown(table) for note in footnotes(table))


def test_notes_stand_below_the_table(table):
    assert any("lone (tiny)" in note for note in table.notes)
    assert all(f"> {markdown_text(note)}" in markdown(table) for note in table.notes)


def test_a_narrow_terminal_cuts_no_name_and_no_number(table):
    out = io.StringIO()
    rich.console.Console(file=out, width=80).print(terminal(table))
    text = out.getvalue()
    for row in table.rows:
        assert row.method in text
        assert f"{row.bleu.mean:.2f}" in text
    assert "…" not in text
    assert "dev, beam 5" in text


def test_markdown_text_cannot_break_out_of_a_cell():
    assert markdown_text("a|b\n# <b>*x*_`$") == r"a\|b # \<b\>\*x\*\_\`\$"


@pytest.mark.parametrize(
    ("points", "shown"),
    [(0.844, "+0.84"), (-0.5, "−0.50"), (0.0, "0.00"), (-0.004, "0.00"), (12, "+12.00")],
)
def test_signed(points, shown):
    assert signed(points) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (None, "–"),
        (0, "0"),
        (7.25, "7.25"),
        (512, "512"),
        (999.6, "1 k"),
        (1_250_000, "1.25 M"),
        (999_999, "1 M"),
        (40_000_000, "40 M"),
        (2.5e9, "2.5 G"),
    ],
)
def test_count(number, shown):
    assert count(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (4.2, "4.2 s"),
        (59.9, "59.9 s"),
        (61, "1 min 01 s"),
        (3599.7, "1 h 00 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_duration(seconds, shown):
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("p", "shown"), [(None, "–"), (0.0009, "<0.001"), (0.001, "0.001"), (1.0, "1.000")]
)
def test_p_value(p, shown):
    assert p_value(p) == shown
