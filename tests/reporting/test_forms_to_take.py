"""Which form of a student to take, and how the report shows what each costs."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.cell import Cell
from kdray.reporting.analysis import analyse
from kdray.reporting.figures.forms import draw_forms
from kdray.reporting.forms import FORM_HEADINGS, FormFacts, FormLimits, form_cells, take_within
from kdray.reporting.write import write_report


def form(method="ce", name="fast", dev=30.0, *, latency=5.0, size=1_000_000, seed=1, **other):
    fields = {
        "cell": Cell(method, "tiny", seed),
        "form": name,
        "kind": "ctranslate2",
        "bleu": {"dev": dev, "test-news": dev - 1},
        "chrf": {"dev": dev + 20, "test-news": dev + 19},
        "lost": 0.4,
        "bytes": size,
        "latency_p50_ms": latency / 2,
        "latency_p95_ms": latency,
        "sentences_per_second": 1000 / latency,
        "memory_bytes": 20_000_000,
        "machine": "one processor",
    }
    return FormFacts(**{**fields, **other})


FORMS = [
    form("ce", "float32", 30.0, latency=8, size=4_000_000),
    form("ce", "int8", 29.5, latency=4, size=1_000_000),
    form("kd", "float32", 33.0, latency=9, size=4_000_000),
    form("kd", "int8", 32.0, latency=5, size=1_100_000),
]


@pytest.mark.parametrize(
    ("limits", "taken"),
    [
        (FormLimits(latency_ms=100), "tiny/kd/seed-1 as float32"),
        (FormLimits(latency_ms=5), "tiny/kd/seed-1 as int8"),
        (FormLimits(latency_ms=4.5), "tiny/ce/seed-1 as int8"),
        (FormLimits(bytes=1_050_000), "tiny/ce/seed-1 as int8"),
        (FormLimits(latency_ms=5, bytes=1_050_000), "tiny/ce/seed-1 as int8"),
    ],
)
def test_the_best_on_dev_within_the_limits_is_taken(limits, taken):
    (said,) = take_within(FORMS, limits)
    assert f"take {taken}:" in said


@given(
    st.lists(
        st.tuples(st.floats(1, 40), st.floats(0.1, 100), st.integers(1, 10**9)), min_size=1,
        max_size=8,
    ),
    st.none() | st.floats(0.1, 120), st.none() | st.integers(1, 10**9),
)  # fmt: skip
def test_what_is_taken_is_within_and_nothing_within_is_better(drawn, latency, size):
    forms = [
        form("m", str(number), dev, latency=ms, size=bytes_)
        for number, (dev, ms, bytes_) in enumerate(drawn)
    ]
    limits = FormLimits(latency, size)
    said = list(take_within(forms, limits))
    within = [each for each in forms if limits.admits(each)]
    if latency is None and size is None:
        assert said == []
    elif not within:
        assert said[0].startswith("No form fits")
    else:
        (taken,) = [each for each in forms if f"take {each.name}:" in said[0]]
        assert taken in within
        assert taken.bleu["dev"] == max(each.bleu["dev"] for each in within)


def test_where_none_fits_the_nearest_is_named():
    (said,) = take_within(FORMS, FormLimits(latency_ms=2, bytes=3_000_000))
    assert said.startswith("No form fits 2 ms and 3.0 MB; the nearest is tiny/ce/seed-1 as int8")


def test_without_exports_it_is_said_what_to_do():
    (said,) = take_within([], FormLimits(bytes=10))
    assert "add `exports` to the configuration" in said


def test_times_of_several_machines_are_told_apart():
    said = list(take_within([FORMS[0], replace(FORMS[1], machine="another")], FormLimits(100)))
    assert said[1] == "The forms were measured on 2 machines, so their times do not compare."


def test_the_front_holds_what_nothing_beats():
    charts = {chart.title: chart for chart in draw_forms(FORMS, "test-news", {})}
    latency = charts["BLEU against latency."].panels[0]
    assert [(at.x, at.y) for at in latency.front] == [(2.0, 28.5), (2.5, 31.0), (4.5, 32.0)]
    assert len(latency.dots) == 4
    throughput = charts["BLEU against throughput."].panels[0]
    assert [at.y for at in throughput.front] == [32.0, 31.0, 28.5]
    assert "BLEU against memory." not in charts, "all forms take the same"


def test_a_report_shows_forms_and_names_one(study, tmp_path):
    study.run("ce", error=0.3)
    study.run("kd", error=0.2)
    study.run("ce", error=0.3, split="test-news")
    study.run("kd", error=0.2, split="test-news")
    facts = study.facts(forms=FORMS, limits=FormLimits(latency_ms=5))
    analysis = analyse(study.results, study=facts)
    write_report(tmp_path, study=facts, results=study.results, analysis=analysis, curves={})
    html, text = ((tmp_path / f"report.{kind}").read_text() for kind in ("html", "md"))
    assert "Within 5 ms take tiny/kd/seed-1 as int8" in html
    section = re.search(r'<section id="forms">.*?</section>', html, re.DOTALL)[0]
    assert section.count("<figure>") == 3
    assert section.count("<tr>") == 1 + len(FORMS)
    assert len(form_cells(FORMS[0])) == len(FORM_HEADINGS) - 3
    assert "## Forms to take home" in text
    assert text.count("| float32 |") == 2
    data = json.loads((tmp_path / "results.json").read_text())
    assert [each["bytes"] for each in data["forms"]] == [each.bytes for each in FORMS]
    without = replace(facts, forms=())
    write_report(tmp_path, study=without, results=study.results, analysis=analysis, curves={})
    assert "Forms to take home" not in (tmp_path / "report.html").read_text()
