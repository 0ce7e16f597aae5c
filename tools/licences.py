"""Writes which packages kdray needs, what those need, and under which licences they are.

    python -m tools.licences

It lists what is installed: run it in an environment that was made of `constraints.txt`.
"""

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PAGE = Path(__file__).parents[1] / "docs" / "licences.md"
PACKAGE = "kdray"
UNKNOWN = "not stated"
_HEAD = """\
# Licences of dependencies

<!-- written by `make generated` -->

kdray is under the Apache License 2.0. It needs the packages of this list: those that it imports, in
bold, and those that they need. Each is under a licence of its own, as its metadata state it. What
only tests or this documentation need is not here.

| package | licence |
| --- | --- |
"""


def needed(root: str = PACKAGE) -> dict[str, Distribution]:
    """All that a package needs in order to run here, and what that needs, by canonical names."""
    found: dict[str, Distribution] = {}
    waiting = [(root, frozenset[str]())]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # wanted on other machines alone, or left out by whoever installed
        for requirement in requirements(found[name], extras):
            waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    found.pop(root)
    return found


def requirements(package: Distribution, extras: frozenset[str]) -> Iterator[Requirement]:
    """What a package needs on this machine, with some of its extras."""
    for line in package.requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def licence(package: Distribution) -> str:
    """The licence that metadata state: an expression, classifiers, or the first line of a text."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier") or ()
        if line.startswith("License :: ") and not line.endswith("OSI Approved")
    ]
    if classifiers:
        return ", ".join(classifiers)
    text = str(metadata.get("License") or "").strip()
    return text.splitlines()[0][:80] if text else _of_files(package)


def _of_files(package: Distribution) -> str:
    """What the first words of a licence file say."""
    for file in package.files or ():
        if re.match(r"(LICEN[CS]E|COPYING)", file.name, re.IGNORECASE):
            text = Path(str(file.locate())).read_text(encoding="utf-8", errors="replace")
            for known in ("Apache License", "MIT License", "BSD", "Permission is hereby granted"):
                if known in text[:2000]:
                    return "MIT License" if known.startswith("Permission") else known
    return UNKNOWN


def written() -> str:
    """The page."""
    packages = needed()
    own = {
        canonicalize_name(each.name) for each in requirements(distribution(PACKAGE), frozenset())
    }
    rows = [
        f"| {f'**{name}**' if name in own else name} | {licence(package).replace('|', '/')} |\n"
        for name, package in sorted(packages.items())
    ]
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
