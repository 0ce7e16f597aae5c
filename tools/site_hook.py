"""Makes pages of the site of the files that stand in the repository's root.

On GitHub they link to `docs/…`, and pages of `docs/` link to them as `../…`; on the site they stand
beside one another.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
"""Files of the root, and what they are called on the site."""
_LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any, **_: object) -> Files:  # noqa: ANN401 (a dictionary of mkdocs)
    """Add the pages of the root."""
    for name, page in PAGES.items():
        text = _relinked((ROOT / name).read_text(encoding="utf-8"), PurePosixPath(name))
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:  # noqa: ANN401
    """Let the pages of `docs/` link to those of the root."""
    if page.file.src_uri in PAGES.values():
        return markdown
    return _relinked(markdown, "docs" / PurePosixPath(page.file.src_uri))


def _relinked(text: str, place: PurePosixPath) -> str:
    """A page with links as they are on the site; `place` is where it stands in the repository."""

    def link(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        if re.match(r"[a-z]+:", target):
            return match[0]
        file = _plain(place.parent / target)
        inside = PAGES.get(str(file)) or (
            str(file.relative_to("docs")) if file.is_relative_to("docs") else None
        )
        if inside is None:  # a file that is no page: say its name
            return f"] (`{file}`)"
        here = PAGES.get(str(place)) or str(place.relative_to("docs"))
        up = "../" * (len(PurePosixPath(here).parts) - 1)
        return f"]({up}{inside}{anchor})"

    return _LINK.sub(link, text)


def _plain(path: PurePosixPath) -> PurePosixPath:
    """A path without `..`."""
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return PurePosixPath(*parts)
