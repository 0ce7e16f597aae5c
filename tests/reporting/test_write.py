"""A report is complete in each of its forms, and its page is safe and needs no other file."""

import html.parser
import json
import re
from dataclasses import replace

import pytest

from kdray.cell import Cell
from kdray.measures.measure import Absent
from kdray.reporting.pages import fact, render_pages
from kdray.reporting.write import write_report
from kdray.scoring.result import Result

VOID = {"meta", "img", "br", "link", "hr"}


class Page(html.parser.HTMLParser):
    """Checks that elements close in order, and collects tags, links and texts."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())


@pytest.fixture
def filled(study):
    for split in study.refs:
        for seed in (1, 2):
            study.run("ce", error=0.4, seed=seed, split=split)
            study.run("hybrid", error=0.1, seed=seed, split=split)
    return study


def write(study, folder, *, curves=None, **changes):
    write_report(folder, study=study.facts(**changes), results=study.results, curves=curves or {})
    names = ("report.html", "report.md", "results.json")
    return tuple((folder / name).read_text(encoding="utf-8") for name in names)


def without_speed(study):
    """Leave nothing to draw: plots have tests of their own, and drawing is slow."""
    study.results = [replace(run, decode_tokens_per_second=None) for run in study.results]


def test_a_report_is_a_page_a_text_data_and_pictures(filled, tmp_path):
    curves = {Cell("ce", "tiny", 1): [{"step": 1, "dev/bleu": 1.0}]}
    html, markdown, _ = write(filled, tmp_path, curves=curves)
    files = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {"03-dev-bleu.png", "03-dev-bleu.svg"} < files
    assert len(files) == 6  # two of quality and speed, one metric, in two formats
    page = Page(html)
    images = [link for link in page.links if link.startswith("data:image/svg+xml;base64,")]
    assert len(images) == 3
    for link in re.findall(r"!\[.*?\]\((.*?)\)", markdown):
        assert (tmp_path / link).is_file()
    assert markdown.count("![") == 3


def test_page_and_text_tell_verdict_scores_corpus_recipe_and_provenance(filled, tmp_path):
    without_speed(filled)
    notes = ["hybrid/tiny seed 3 failed: loss became NaN"]
    sharing = "55 updates for lengths of 80 together"
    html, markdown, _ = write(filled, tmp_path, notes=notes, sharing=sharing)
    texts, plain = Page(html).texts, re.sub(r"\\(.)", r"\1", markdown)
    assert "160\u202f239" in texts
    for told in (
        "Take hybrid: it beats ce beyond noise on test-news.",
        "hybrid/tiny seed 3 failed: loss became NaN",
        "55 updates for lengths of 80 together",
        "dev, beam 5",
        "test-news, beam 5",
        "160 239",
        "too long",
        "812",
        "kind: generated",
        "a1b2c3d4e5f60718",
        "0.1.0",
    ):
        assert told in " ".join(texts).replace("\u202f", " "), told
        assert told in plain.replace("\u202f", " "), told


def test_the_page_asks_for_nothing_from_outside_and_runs_nothing(filled, tmp_path):
    without_speed(filled)
    curves = {Cell("ce", "tiny", 1): [{"step": 1, "dev/bleu": 1.0}]}
    text, *_ = write(filled, tmp_path, curves=curves)
    page = Page(text)
    assert page.links
    assert all(link.startswith("data:") for link in page.links)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "url(" not in text
    assert "@import" not in text


def test_all_text_is_escaped(filled, tmp_path):
    without_speed(filled)
    evil = "<script>alert(1)</script>"
    text, markdown, _ = write(
        filled,
        tmp_path,
        name=evil,
        recipe={"a": evil, "b": "```"},
        corpus={evil: {evil: evil}},
        fingerprints={evil: evil},
        versions={evil: evil},
        notes=[evil],
    )
    assert "script" not in Page(text).tags
    assert text.count("&lt;script&gt;") == 11
    outside = re.sub(r"(?s)^````yaml\n.*?^````$", "", markdown, flags=re.MULTILINE)
    assert "````yaml" in markdown
    assert "<script>" not in outside


def test_results_can_be_read_back_and_carry_tables_and_verdict(filled, tmp_path):
    without_speed(filled)
    data = json.loads(write(filled, tmp_path)[2])
    assert [Result.from_json(record) for record in data["results"]] == filled.results
    assert data["verdicts"][0]["chosen"] == "hybrid"
    dev = data["tables"][0]
    assert dev["split"] == "dev"
    assert [row["method"] for row in dev["rows"]] == ["ce", "hybrid"]
    assert dev["rows"][1]["difference"]["finding"] == "significant"


def test_other_beams_are_kept_but_folded_away(filled, tmp_path):
    filled.run("ce", error=0.5, beam=1)
    without_speed(filled)
    text, *_ = write(filled, tmp_path)
    folded = text[text.index("<details>") : text.index("</details>")]
    assert "dev, beam 1" in folded
    assert "dev, beam 5" not in folded


def test_a_second_report_replaces_the_first(filled, tmp_path):
    without_speed(filled)
    assert write(filled, tmp_path) == write(filled, tmp_path)


def test_a_study_without_scores_still_has_a_report(study, tmp_path):
    html, markdown, _ = write(study, tmp_path, notes=["all students failed"])
    assert "no verdict" in html
    assert "no verdict" in markdown
    assert "all students failed" in markdown
    assert list((tmp_path / "plots").iterdir()) == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (160239, "160\u202f239"),
        (True, "yes"),
        (None, "–"),
        (0.123456, "0.1235"),
        ([1, 2.5, "x"], "1, 2.5, x"),
        ("text", "text"),
    ],
)
def test_facts_are_readable(value, shown):
    assert fact(value) == shown


def test_measures_of_the_scenario_are_a_section_where_there_are_some(filled, tmp_path):
    measures = {"text/pairs": 4321, "text/monotonicity": Absent("<few> pairs")}
    page, text, data = write(filled, tmp_path, complexity=measures)
    assert "## Complexity" in text
    assert json.loads(data)["complexity"] == {"text/pairs": 4321}
    shown = Page(page).texts
    assert shown.index("Corpus") < shown.index("Complexity") < shown.index("Recipe")
    assert {"monotonicity", "absent: <few> pairs", fact(4321)} <= set(shown)
    for page in render_pages(study=filled.facts(), verdicts=[], tables=[], plots=[]):
        assert "Complexity" not in page
