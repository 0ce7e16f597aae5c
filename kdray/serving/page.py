"""The page on which a person tries the models: one file, which loads nothing from elsewhere."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from starlette.responses import HTMLResponse

_FILE = Path(__file__).with_name("page.html")


def page() -> HTMLResponse:
    """The page, with a policy that lets nothing but its own script and style run."""
    return HTMLResponse(
        _text(),
        headers={
            "content-security-policy": _policy(),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
        },
    )


@cache
def _text() -> str:
    return _FILE.read_text(encoding="utf-8")


@cache
def _policy() -> str:
    allowed = {
        tag: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()}'"
            for block in re.findall(rf"<{tag}>(.*?)</{tag}>", _text(), re.DOTALL)
        )
        for tag in ("script", "style")
    }
    return (
        f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
