"""A report is complete in each of its forms, and its page is safe and needs no other file."""

import html.parser
import json
import re
import xml.etree.ElementTree as ElementTree
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.cell import Cell
from kdray.measures.measure import Absent
from kdray.reporting.analysis import analyse
from kdray.reporting.values import beside, common_keys, fact
from kdray.reporting.write import write_report
from kdray.scoring.result import Result

pytestmark = pytest.mark.slow

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
    facts = study.facts(**changes)
    analysis = analyse(study.results, study=facts)
    write_report(folder, study=facts, results=study.results, analysis=analysis, curves=curves or {})
    names = ("report.html", "report.md", "results.json")
    return tuple((folder / name).read_text(encoding="utf-8") for name in names)


def test_a_report_is_a_page_a_text_data_and_charts(filled, tmp_path):
    curves = {Cell("ce", "tiny", 1): [{"step": 1, "dev/bleu": 1.0}, {"step": 2, "dev/bleu": 2.0}]}
    html, markdown, _ = write(filled, tmp_path, curves=curves)
    files = {path.name for path in (tmp_path / "charts").iterdir()}
    assert "01-learning-dev-bleu.svg" in files
    assert 'aria-label="dev/bleu by update.' in html
    links = re.findall(r"!\[.*?\]\((.*?)\)", markdown)
    assert {Path(link).name for link in links} == files
    for link in links:
        ElementTree.parse(tmp_path / link)


def test_page_and_text_tell_verdict_scores_corpus_recipe_and_provenance(filled, tmp_path):
    notes = ["hybrid/tiny seed 3 failed: loss became NaN"]
    sharing = "55 updates for lengths of 80 together"
    html, markdown, _ = write(filled, tmp_path, notes=notes, sharing=sharing)
    texts, plain = Page(html).texts, re.sub(r"\\(.)", r"\1", markdown)
    assert "160\u202f239" in texts
    for told in (
        "Take hybrid: it beats every other method on test-news.",
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


def test_verdict_comes_first_and_the_contents_list_names_every_section(filled, tmp_path):
    html, *_ = write(filled, tmp_path)
    sections = re.findall(r'<section id="(\w+)">', html)
    assert sections == ["verdict", "scores", "sentences", "corpus", "recipe", "provenance"]
    assert [link for link in Page(html).links if link.startswith("#")] == [
        f"#{section}" for section in sections
    ]


def test_the_policy_of_the_page_allows_its_own_style_and_script_alone(filled, tmp_path):
    html, *_ = write(filled, tmp_path)
    page = Page(html)
    assert page.tags.count("script") == page.tags.count("style") == 1
    assert all(link.startswith("#") for link in page.links)
    assert not {"link", "iframe", "object", "img"} & set(page.tags)
    assert not re.search(r'\b(style|onload|onclick)="|url\(|@import', html)
    policy = re.search(r'Policy" content="([^"]*)"', html)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none';")
    for kind in ("style", "script"):
        text = re.search(rf"<{kind}>(.*?)</{kind}>", html, re.DOTALL)[1]
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]
    assert len(script) < 2048


def test_the_recipe_is_shown_without_credentials(filled, tmp_path):
    url = "s3://key:hunter2@bucket/a b", "https://host/x?X-Amz-Signature=hunter2"
    recipe = {"corpus": {"folder": url[0], "tests": {"t": [url[1]]}}}
    for page in write(filled, tmp_path, recipe=recipe):
        assert "hunter2" not in page
    assert "s3://***@bucket/a b" in (tmp_path / "report.md").read_text()


def test_all_text_is_escaped(filled, tmp_path):
    evil = "<script>alert(1)</script>"
    filled.run(evil, error=0.2)
    text, markdown, _ = write(
        filled,
        tmp_path,
        name=evil,
        recipe={"a": evil, "b": "```"},
        corpus={evil: {evil: evil}},
        fingerprints={evil: evil},
        versions={evil: evil},
        notes=[evil],
        curves={Cell(evil, evil, 1): [{"step": 1, f"dev/{evil}": 1.0}]},
    )
    assert Page(text).tags.count("script") == 1
    assert text.count("<script>") == 1
    outside = re.sub(r"(?s)^````yaml\n.*?^````$", "", markdown, flags=re.MULTILINE)
    assert "````yaml" in markdown
    assert "<script>" not in outside


def test_results_can_be_read_back_and_carry_tables_and_verdict(filled, tmp_path):
    data = json.loads(write(filled, tmp_path)[2])
    assert [Result.from_json(record) for record in data["results"]] == filled.results
    assert data["verdicts"][0]["chosen"] == "hybrid"
    dev, test = data["tables"]
    assert (dev["split"], test["split"]) == ("dev", "test-news")
    assert [row["method"] for row in dev["rows"]] == ["ce", "hybrid"]
    assert test["differences"][0]["finding"] == "significant"


def test_other_beams_are_kept_but_folded_away(filled, tmp_path):
    filled.run("ce", error=0.5, beam=1)
    text, *_ = write(filled, tmp_path)
    scores = text[text.index('<section id="scores">') : text.index('<section id="sentences">')]
    folded = scores[scores.index("<details>") : scores.index("</details>")]
    assert "dev, beam 1" in folded
    assert "dev, beam 5" not in folded


def test_a_second_report_replaces_the_first(filled, tmp_path):
    curves = {Cell("ce", "tiny", 1): [{"step": step, "dev/bleu": 1.0} for step in (1, 2)]}
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "99-old.svg").write_text("old")
    first = write(filled, tmp_path, curves=curves)
    assert write(filled, tmp_path, curves=curves) == first
    assert [path.name for path in (tmp_path / "charts").iterdir()] == ["01-learning-dev-bleu.svg"]


def test_a_study_without_scores_still_has_a_report(study, tmp_path):
    html, markdown, _ = write(study, tmp_path, notes=["all students failed"])
    assert "no verdict" in html
    assert "no verdict" in markdown
    assert "all students failed" in markdown
    assert list((tmp_path / "charts").iterdir()) == []


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
    assert "Complexity" not in "".join(write(filled, tmp_path))


def test_what_a_translation_has_instead_of_the_reference_is_marked():
    assert beside("a big dog runs", "a dog runs fast") == [
        ("a", False),
        ("big", True),
        ("dog runs", False),
    ]
    assert beside("", "a dog") == []


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abc"), max_size=8))
def test_marking_loses_no_word(words, wanted):
    parts = beside(" ".join(words), " ".join(wanted))
    assert " ".join(part for part, _ in parts).split() == words


def test_facts_with_the_same_keys_are_a_table():
    assert common_keys({"dev": {"src": 1, "ref": 2}, "test": {"src": 3, "ref": 4}}) == [
        "src",
        "ref",
    ]
    assert common_keys({"dev": {"src": 1}, "test": {"ref": 4}}) == []
    assert common_keys({"dev": {"src": {}}, "test": {"src": {}}}) == []
    assert common_keys({"dev": 1, "test": 2}) == []
