"""A written report in a real browser: no error, nothing against its policy, nothing from outside.

Needs Chromium. Without it the tests are skipped, unless the environment has KDRAY_NEEDS_BROWSER,
which `.ci/run` sets where there is one.
"""

import json
import os
import shutil
import subprocess
from html import unescape
from types import SimpleNamespace

import pytest
from made_search import made_search

from kdray.cell import Cell
from kdray.reporting.analysis import analyse
from kdray.reporting.searches.page import HTML, write_search
from kdray.reporting.write import write_report

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
IS_NEEDED = bool(os.environ.get("KDRAY_NEEDS_BROWSER"))
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--virtual-time-budget=5000", "--host-resolver-rules=MAP * ~NOTFOUND"),  # nobody is asked
)
OUTSIDE = '<img src="http://kdray.invalid/picture.png">'

pytestmark = [
    pytest.mark.long,
    pytest.mark.slow,
    pytest.mark.skipif(
        BROWSER is None and not IS_NEEDED, reason=f"none of {', '.join(NAMES)} is installed"
    ),
]


def visit(page, folder):
    """Open a page. -> its elements after scripts have run, console messages, and requests."""
    assert BROWSER is not None, f"a browser is needed here: install one of {', '.join(NAMES)}"
    log = folder / "net.json"
    done = subprocess.run(
        [
            *(BROWSER, *QUIET, "--enable-logging=stderr", "--dump-dom"),
            *(f"--log-net-log={log}", f"--user-data-dir={folder / 'profile'}"),
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    started = [event["params"] for event in events if "initiator" in event.get("params", {})]
    own = [each for each in started if "file:" in each["network_isolation_key"]]  # the page's
    return SimpleNamespace(
        dom=done.stdout,
        console=[line for line in done.stderr.splitlines() if "CONSOLE" in line],
        requests=[each["url"] for each in own],
    )


@pytest.fixture
def page(study, tmp_path):
    for split in study.refs:
        for seed in (1, 2):
            for size in ("tiny", "small"):
                study.run("ce", error=0.4, seed=seed, size=size, split=split)
                study.run("<i>hybrid", error=0.1, seed=seed, size=size, split=split)
        study.run("teacher", error=0.05, role="teacher", num_params=10_000_000, split=split)
    curves = {
        Cell(name, "tiny", 1): [{"step": step, "dev/bleu": step / 2} for step in range(1, 400)]
        for name in ("ce", "<i>hybrid")
    }
    facts = study.facts(notes=[f"a note {OUTSIDE}"])
    folder = tmp_path / "report"
    write_report(
        folder,
        study=facts,
        results=study.results,
        analysis=analyse(study.results, study=facts),
        curves=curves,
    )
    return folder / "report.html"


def test_a_report_opens_without_an_error_and_asks_for_nothing(page, tmp_path):
    seen = visit(page, tmp_path)
    assert seen.console == []
    assert seen.requests == []
    assert seen.dom.count("<svg") > 4
    assert "<title>" in page.read_text(encoding="utf-8").split("<main>")[1]
    assert "<title>" not in seen.dom.split("<main>")[1], "the script of the page has not run"
    assert "<i>hybrid" in unescape(seen.dom)
    assert "<i>" not in seen.dom


def test_the_page_of_a_search_opens_without_an_error_and_asks_for_nothing(tmp_path):
    write_search(tmp_path / "search", made_search(f"a name {OUTSIDE}"), None)
    seen = visit(tmp_path / "search" / HTML, tmp_path)
    assert seen.console == []
    assert seen.requests == []
    assert seen.dom.count("<svg") > 4
    assert "<title>" not in seen.dom.split("<main>")[1], "the script of the page has not run"


def test_what_is_added_to_a_page_neither_runs_nor_loads(page, tmp_path):
    text = page.read_text(encoding="utf-8")
    added = f"{OUTSIDE}<script>document.title = 'taken'</script></main>"
    page.write_text(text.replace("</main>", added), encoding="utf-8")
    seen = visit(page, tmp_path)
    assert "<title>taken" not in seen.dom
    assert seen.requests == []
    assert len(seen.console) == 2
    assert all("Content Security Policy" in line for line in seen.console)


def test_errors_and_requests_of_a_page_would_be_seen(tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(f"<!DOCTYPE html><p>{OUTSIDE}<script>nothing()</script>", encoding="utf-8")
    seen = visit(bad, tmp_path)
    assert any("nothing is not defined" in line for line in seen.console)
    assert any("kdray.invalid" in url for url in seen.requests)
