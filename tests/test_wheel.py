"""What is installed is whole: the wheel, and the wheel that is made of the source distribution.

Both are built without a network, from a copy of the repository, and run from an empty folder.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import kdray

ROOT = Path(__file__).parents[1]
PARTS = ["kdray", "tune_configs", "pyproject.toml", "README.md", "LICENSE"]
pytestmark = pytest.mark.slow


def build(kind: str, source: Path, into: Path) -> Path:
    """Have setuptools build a distribution of a folder. -> its file."""
    code = f"from setuptools import build_meta as b; b.build_{kind}({str(into)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    (file,) = (path for path in into.iterdir() if kind == "wheel" or path.name.endswith(".gz"))
    return file


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a distribution is made of, without what else lies in the repository."""
    folder = tmp_path_factory.mktemp("source")
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, folder / part, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / part, folder / part)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds nothing but the content of the wheel, as an installer leaves it."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    return folder


def run(installed: Path, empty: Path, *arguments: str) -> str:
    """What a command of the installed package prints; all its dependencies are those of here."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_holds_the_package_and_its_files(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    own = {f"kdray/{p.relative_to(ROOT / 'kdray')}" for p in (ROOT / "kdray").rglob("*.py")}
    own |= {f"kdray/tune_configs/{p.name}" for p in (ROOT / "tune_configs").iterdir()}
    templates = (p for p in (ROOT / "kdray/reporting/templates").rglob("*") if p.is_file())
    own |= {f"kdray/{p.relative_to(ROOT / 'kdray')}" for p in templates}
    assert own | {"kdray/py.typed", "kdray/serving/page.html"} <= names
    assert {name.split("/")[0] for name in names} == {
        "kdray",
        f"kdray-{kdray.__version__}.dist-info",
    }


def test_what_is_made_of_the_source_distribution_is_the_same(source, wheel, tmp_path):
    (tmp_path / "sdist").mkdir()
    with tarfile.open(build("sdist", source, tmp_path / "sdist")) as file:
        file.extractall(tmp_path, filter="data")
    (tmp_path / "wheel").mkdir()
    again = build("wheel", tmp_path / f"kdray-{kdray.__version__}", tmp_path / "wheel")
    content = {
        name: archive.read(name)
        for archive in (zipfile.ZipFile(wheel),)
        for name in archive.namelist()
        if not name.endswith("RECORD")
    }
    archive = zipfile.ZipFile(again)
    assert content == {
        name: archive.read(name) for name in archive.namelist() if not name.endswith("RECORD")
    }


def test_it_runs_from_an_empty_folder(installed, tmp_path):
    place = run(installed, tmp_path, "-c", "import kdray; print(kdray.__file__)")
    assert Path(place.strip()).is_relative_to(installed)
    assert run(installed, tmp_path, "-m", "kdray", "--version").strip() == kdray.__version__
    planned = run(installed, tmp_path, "-m", "kdray.study", "tune_configs/demo.yaml", "--dry-run")
    assert "would run" in planned
    run(installed, tmp_path, "-m", "kdray.init", "mine", "--example", "demo")
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {"demo.yaml", "schema.json"}
