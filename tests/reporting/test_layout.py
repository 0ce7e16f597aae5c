"""Every form of a table shows the same numbers and marks, and escapes what users named."""

import io
import re

import pytest
import rich.console

from kdray.condition import Condition
from kdray.reporting.analysis import analyse
from kdray.reporting.layout import columns_of, footnotes, markdown, markdown_text, terminal
from kdray.reporting.numbers import count, duration, listed, p_value, signed
from kdray.scoring.result import Score
from kdray.scoring.segments import write_numbers


def tables_of(study):
    return analyse(study.results, study=study.facts()).tables


@pytest.fixture
def table(study):
    for seed in (1, 2, 3):
        for method, error in (("ce", 0.4), ("better", 0.05), ("similar_one", 0.4)):
            study.run(method, error=error, seed=seed, split="test-news")
    study.run("lone", error=0.05, split="test-news")
    changes = {"role": "teacher", "size": "base", "target_tokens": None, "split": "test-news"}
    study.run("teacher", error=0.02, **changes)
    (only_table,) = tables_of(study)
    return only_table


def cells(table, method):
    """A row of the table in Markdown, by heading."""
    headings = [column.heading for column in columns_of(table)]
    for line in markdown(table).splitlines():
        parts = [part.strip() for part in re.split(r"(?<!\\)\|", line)][1:-1]
        if len(parts) == len(headings) and parts[1] == method:
            return dict(zip(headings, parts, strict=True))
    raise AssertionError(f"no row {method}")


@pytest.mark.slow
def test_markdown_marks_findings_and_only_those(table):
    assert re.fullmatch(r"\+\d+\.\d\d \\\*", cells(table, "better")["Δ BLEU"])
    assert cells(table, "similar\\_one")["Δ BLEU"].endswith("n.s.")
    assert re.fullmatch(r"\+\d+\.\d\d †", cells(table, "lone")["Δ BLEU"])
    assert cells(table, "lone")["p"] == cells(table, "lone")["95 % interval"] == "–"
    assert cells(table, "ce")["Δ BLEU"] == "baseline"
    assert cells(table, "teacher")["Δ BLEU"] == "–"


@pytest.mark.slow
def test_markdown_shows_what_a_reader_compares(table):
    shown = cells(table, "better")
    assert shown["Seeds"] == "3"
    assert shown["Parameters"] == "1.25 M"
    assert shown["Decoding tokens/s"] == "5 k"
    assert shown["Tokens trained on"] == "40 M"
    assert shown["Training time"] == "1 h 02 min"
    assert shown["p"] == "\\<0.001"
    assert shown["Judges who would agree"] == "over 85 %"
    assert re.fullmatch(r"\+\d+\.\d\d to \+\d+\.\d\d", shown["95 % interval"])
    assert cells(table, "teacher")["Tokens trained on"] == "–"


@pytest.mark.slow
def test_dev_has_differences_without_p_and_marks(study):
    for seed in (1, 2):
        study.run("ce", error=0.4, seed=seed)
        study.run("better", error=0.05, seed=seed)
    (dev,) = tables_of(study)
    shown = cells(dev, "better")
    assert re.fullmatch(r"\+\d+\.\d\d", shown["Δ BLEU"])
    assert " to +" in shown["95 % interval"]
    assert not {"p", "Judges who would agree"} & set(shown)
    assert "Holm" not in " ".join(footnotes(dev))


@pytest.mark.slow
def test_lengths_have_a_column_where_there_are_some(study):
    study.run("ce", error=0.4, split="test-news")
    study.run("ce", error=0.4, length=400)
    study.run("ce", error=0.4, length=800)
    study.run("teacher", error=0.1, role="teacher")
    other, without = tables_of(study)
    assert "Updates" not in [column.heading for column in columns_of(without)]
    assert [column.heading for column in columns_of(other)][:3] == ["Size", "Updates", "Method"]
    lines = markdown(other).splitlines()
    assert [line.split(" | ")[1] for line in lines[2:5]] == ["–", "400", "800"]
    assert "of the same size and length" in footnotes(other)[0]


@pytest.mark.slow
def test_footnotes_explain_correction_marks_and_signature(table):
    text = " ".join(footnotes(table))
    for part in ("Holm over all comparisons", "n.s.", "†", "200 resamples", "40 segments"):
        assert part in text
    assert table.signatures["bleu"] in text
    assert table.signatures["chrf"] in text
    assert all(markdown_text(note) in markdown(table) for note in footnotes(table))


@pytest.mark.slow
def test_notes_stand_below_the_table(table):
    assert any("lone (tiny)" in note for note in table.notes)
    assert all(f"> {markdown_text(note)}" in markdown(table) for note in table.notes)


@pytest.mark.slow
def test_a_metric_from_outside_has_a_column_for_it_and_its_difference(study):
    """A run without it keeps all else."""
    study.run("ce", error=0.3, split="test-news")
    for method, gain in (("none", None), ("good", 1.0), ("fair", 0.5)):
        for seed in (1, 2):
            run = study.run(method, error=0.3, split="test-news", seed=seed)
            if gain is not None:
                path = study.folder / f"{method}-{seed}.numbers"
                values = [gain + 0.01 * seed + 0.001 * line for line in range(40)]
                write_numbers(path, values)
                run.scores["comet"] = Score(sum(values) / 40, "comet 1", segments_path=str(path))
    (table,) = tables_of(study)
    assert cells(table, "good")["comet"] == "1.034 ±0.0071"
    assert cells(table, "good")["Δ comet"] == "–", "the baseline has none"
    assert (cells(table, "none")["comet"], cells(table, "ce")["Δ comet"]) == ("–", "baseline")
    assert cells(table, "none")["Δ BLEU"] != "–"
    assert any(note.startswith("comet: comet 1, the mean over seg") for note in footnotes(table))


def test_teacher_forcing_has_columns_of_its_own(study):
    study.run("ce", error=0.4)
    scores = {"loss": Score(2.5, "nats a token", False), "accuracy": Score(51.25, "% of tokens")}
    forced = {"condition": Condition("teacher-forcing"), "scores": scores, "hyps_path": None}
    for method in ("ce", "good"):
        study.run(method, error=0.4, **forced)
    plain, other = tables_of(study)
    assert (plain.beam, other.title) == (5, "dev, teacher forcing")
    headings = [column.heading for column in columns_of(other)]
    assert headings[3:5] == ["loss", "accuracy"]
    assert "BLEU" not in headings
    assert (cells(other, "good")["loss"], cells(other, "good")["accuracy"]) == ("2.5", "51.25")
    assert other.differences == ()
    assert "loss: nats a token; accuracy: % of tokens." in footnotes(other)


@pytest.mark.slow
def test_a_narrow_terminal_cuts_no_name_and_no_number(table):
    out = io.StringIO()
    rich.console.Console(file=out, width=80).print(terminal(table))
    text = out.getvalue()
    for row in table.rows:
        assert row.method in text
        assert f"{row.bleu.mean:.2f}" in text
    assert "…" not in text
    assert "test-news, beam 5" in text


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


def test_listed():
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
