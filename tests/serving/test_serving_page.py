"""The page in a real browser: it translates with every model, and runs and loads nothing else.

Needs Chromium, as the tests of reports do.
"""

import os
import shutil
import socket
import subprocess
import threading
from urllib.parse import quote

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route

from kdray.serving.app import application
from kdray.serving.page import page
from kdray.serving.service import Service

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
FRAME = '<!DOCTYPE html><title></title><iframe width="{}" height="800" src="/page{}"></iframe>'
WIDTH = """<script>
setInterval(() => { parent.document.title = `wide ${document.documentElement.scrollWidth}`; }, 50);
</script>"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BROWSER is None and not os.environ.get("KDRAY_NEEDS_BROWSER"),
        reason=f"none of {', '.join(NAMES)} is installed",
    ),
]


@pytest.fixture
def site():
    """Runs an application on a free port; gives its address."""
    ended = []

    def run(app):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
        thread = threading.Thread(target=server.run)
        thread.start()
        ended.append((server, thread))
        while not server.started:
            assert thread.is_alive()
        return f"http://127.0.0.1:{port}/"

    yield run
    for server, thread in ended:
        server.should_exit = True
        thread.join(20)


def visit(url, folder):
    """Open a page and wait for what it asks. -> its elements, and console messages."""
    assert BROWSER is not None, f"a browser is needed here: install one of {', '.join(NAMES)}"
    done = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--dump-dom"),
            *("--virtual-time-budget=20000", "--enable-logging=stderr"),
            *("--window-size=1500,900", f"--user-data-dir={folder / 'profile'}"),
            url,
        ],
        capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_every_model_translates_side_by_side(site, shouting, tmp_path):
    service = Service((shouting("teacher", mark="?"), shouting("<i>loud")))
    dom, console = visit(site(application(service)) + "#q=" + quote("<b>guten tag"), tmp_path)
    assert console == []
    for text in ("&lt;B&gt;GUTEN TAG?", "&lt;B&gt;GUTEN TAG!"):
        assert text in dom
    assert dom.count(" ms</p>") == 2
    assert "<b>" not in dom
    assert "<i>" not in dom


def test_a_model_that_cannot_translate_is_told_beside_the_others(site, shouting, tmp_path):
    service = Service((shouting("one", mark="1"), shouting("two", mark="2")))
    dom, console = visit(site(application(service)) + "#q=" + quote("a b c d e"), tmp_path)
    assert dom.count("longer than the 4 tokens") == 2
    assert all("400" in line for line in console), "the browser notes statuses, nothing else"


@pytest.mark.parametrize("width", [1400, 420])
def test_the_page_is_no_wider_than_what_it_is_shown_in(width, site, shouting, tmp_path):
    service = Service(tuple(shouting(f"long-name-{'x' * 60}-{n}") for n in range(3)))
    text = page().body.decode().replace("</body>", f"{WIDTH}</body>")
    frame = FRAME.format(width, "#q=" + quote("ä" * 300))
    inner = application(service)
    framed = Starlette(
        routes=[
            Route("/", lambda _: HTMLResponse(frame)),
            Route("/page", lambda _: HTMLResponse(text)),  # without its policy
            Mount("/", inner),
        ],
        lifespan=lambda _: inner.router.lifespan_context(inner),
    )
    dom, console = visit(site(framed), tmp_path)
    assert console == []
    shown = int(dom.split("<title>wide ")[1].split("<")[0])
    assert 300 < shown <= width


def test_nothing_but_the_page_itself_may_run(shouting, client_of):
    answer = client_of(shouting()).get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == 2
    assert "http" not in answer.text.replace("http-equiv", "")
