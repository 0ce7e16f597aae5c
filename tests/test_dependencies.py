"""Dependencies have bounds, within which everything that is tested with lies."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
REQUIREMENTS = [Requirement(line) for line in (*PROJECT["dependencies"], *EXTRAS)]
OTHERS = [each for each in REQUIREMENTS if each.name != PROJECT["name"]]
PINNED = dict(
    re.findall(r"^([\w.-]+)==([\w.]+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
)


@pytest.mark.parametrize("requirement", OTHERS, ids=str)
def test_a_dependency_is_bounded_below_and_above(requirement):
    assert sorted(each.operator for each in requirement.specifier) == ["<", ">="]


@pytest.mark.parametrize("requirement", OTHERS, ids=str)
def test_what_is_tested_with_lies_within_the_bounds(requirement):
    pinned = {name.lower().replace("_", "-"): version for name, version in PINNED.items()}
    version = pinned.get(requirement.name.lower().replace("_", "-"))
    if version is None:
        assert f'"{requirement}"'.split(">")[0] not in str(PROJECT["dependencies"])
        pytest.skip("an extra that the tests do without")
    assert requirement.specifier.contains(version)


@pytest.mark.long
@pytest.mark.parametrize("end", ["lowest-direct", "highest"])
def test_versions_can_be_found_at_both_ends(end):
    """A resolver finds a set of versions that go together; needs `uv` and a package index."""
    if (uv := shutil.which("uv")) is None:
        pytest.skip("needs uv")
    line = [uv, "pip", "compile", "--quiet", "--resolution", end, "--python", sys.executable]
    done = subprocess.run(
        [*line, str(ROOT / "pyproject.toml")], capture_output=True, text=True, check=False
    )
    if "network" in done.stderr or "fetch" in done.stderr:
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
