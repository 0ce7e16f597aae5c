"""The page of a search: it names every trial, escapes what it shows, and tells the verdict."""

import json
import re

import pytest
from made_search import made_search
from rich.console import Console

from kdray.reporting.analysis import analyse
from kdray.reporting.searches.facts import SearchFacts, short_names, verdict_on
from kdray.reporting.searches.page import (
    HEADLINE_WITHOUT,
    HTML,
    JSON,
    MARKDOWN,
    Retrained,
    write_search,
)
from kdray.reporting.searches.terminal import trials_table
from kdray.statistics.trials import TrialResult


@pytest.fixture
def retrained(study):
    """Make the report of a winner that errs so much. The others are `ce` and `kd`."""

    def make(error):
        for split in study.refs:
            for seed in (2, 3, 4):
                study.run("ce", error=0.4, seed=seed, split=split)
                study.run("kd", error=0.3, seed=seed, split=split)
                study.run("found", error=error, seed=seed, split=split)
        facts = study.facts()
        analysis = analyse(study.results, study=facts)
        return Retrained(facts, analysis, "found", "winner/report.html")

    return make


def test_every_trial_stands_on_the_page_and_nothing_of_it_is_markup(tmp_path):
    facts = made_search()
    write_search(tmp_path, facts, None)
    html, markdown = ((tmp_path / name).read_text("utf-8") for name in (HTML, MARKDOWN))
    assert HEADLINE_WITHOUT in html
    for trial in facts.trials:
        assert trial.fingerprint in html
        assert trial.fingerprint in markdown
    assert "<i>" not in html
    assert "<nan>" not in html
    drawn = [trial for trial in facts.trials if trial.scores]
    assert len(re.findall(r'class="(?:strand|faint|strong)"', html)) == len(drawn)
    assert not re.search(r"https?:|\bsrc=|@import|url\(", html), "it asks for nothing"


def test_what_is_stored_is_read_again(tmp_path):
    facts = made_search()
    write_search(tmp_path, facts, None)
    stored = json.loads((tmp_path / JSON).read_text("utf-8"))
    trials = [TrialResult.from_json(each) for each in stored["trials"]]
    again = SearchFacts.of(facts.name, facts.config, trials, task={})
    as_stored = [json.loads(json.dumps(each.to_json())) for each in (again, facts)]
    assert as_stored[0] == as_stored[1]
    assert facts.trials[stored["winner"] - 1] is facts.winner
    assert [facts.trials[n - 1].is_finished for n in stored["front"]] == [True] * len(
        stored["front"]
    )


def test_the_verdict_is_on_the_winner_even_if_dev_prefers_another_one(retrained, tmp_path):
    facts, report = made_search(), retrained(0.35)
    verdict = report.verdict
    assert verdict == verdict_on(report.analysis, "found", main_beam=5)
    assert verdict.chosen == "found"
    (usual,) = report.analysis.verdicts
    assert usual.chosen == "kd"
    write_search(tmp_path, facts, report)
    stored = json.loads((tmp_path / JSON).read_text("utf-8"))["verdict"]
    assert stored["headline"] == verdict.headline
    html = (tmp_path / HTML).read_text("utf-8")
    assert 'href="winner/report.html"' in html
    assert "ev prefers" not in html, "dev has not been asked"
    dev = next(table for table in report.analysis.tables if table.is_dev)
    chrf = dev.row(dev.rows[0].group, "found").chrf
    assert f"on dev these have {chrf.mean:.2f} ± {chrf.sd:.2f}" in html
    assert "found" in verdict.headline


def test_a_winner_that_is_better_beats_the_others(retrained):
    assert retrained(0.05).verdict.headline.startswith("Take found: it beats every other method")


def test_a_search_without_a_winner_says_so(tmp_path):
    facts = made_search(count=0)
    write_search(tmp_path, facts, None)
    assert "No trial is finished" in (tmp_path / HTML).read_text("utf-8")


def test_a_terminal_of_80_columns_shows_fingerprints_whole():
    facts, console = made_search(), Console(width=80)
    with console.capture() as captured:
        console.print(trials_table(facts))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 80
    for trial in facts.trials:
        assert sum(trial.fingerprint in line for line in lines) == 1
    assert "…" not in captured.get()


def test_names_are_as_short_as_they_differ():
    paths = ["method", "gate.kind", "kind", "gate.initial", "training.schedule.peak", "a.b.c"]
    names = short_names(paths)
    assert len(set(names.values())) == len(paths)
    assert names["training.schedule.peak"] == "peak"
    assert names["gate.kind"] == "gate.kind", "`kind` is another one"
