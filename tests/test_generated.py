"""What is worked out from the code is up to date: `make generated` writes it anew."""

import re
from pathlib import Path

import jsonschema
import pytest

from kdray.config.load import read_yaml
from kdray.config.shipped import FOLDER, SCHEMA
from tools import licences, verb_pages
from tools.config_schema import documented_keys, experiment_schema, written

CONFIGS = sorted(FOLDER.glob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(experiment_schema())


@pytest.mark.slow
def test_the_schema_is_that_of_the_code():
    assert SCHEMA.read_text(encoding="utf-8") == written(), "run `make generated`"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_an_editor_finds_no_fault_in_a_shipped_configuration(path: Path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=schema.json"
    assert list(VALIDATOR.iter_errors(read_yaml(path))) == []


@pytest.mark.parametrize(
    "change",
    [
        {"nam": "x"},
        {"recipe": {"students": {"seeds": ["one"]}}},
        {"recipe": {"methods": {"a": {"kind": "crossentropy"}}}},
        {"execution": {"cpus": 0}},
    ],
)
def test_an_editor_finds_what_kdray_refuses(change):
    def merged(old, new):
        both = isinstance(old, dict) and isinstance(new, dict)
        return {**old, **{k: merged(old.get(k), v) for k, v in new.items()}} if both else new

    data = merged(read_yaml(FOLDER / "demo.yaml"), change)
    assert list(VALIDATOR.iter_errors(data))


@pytest.mark.slow
def test_what_keys_mean_is_there():
    schema, meanings = experiment_schema(), dict(documented_keys())
    assert len(meanings) > 150
    updates = schema["$defs"]["TrainingConfig"]["properties"]["updates"]
    assert updates["description"] == meanings["TrainingConfig", "updates"]


def test_the_pages_of_the_commands_are_those_of_the_code():
    there = {path: path.read_text(encoding="utf-8") for path in verb_pages.FOLDER.glob("*")}
    assert there == dict(verb_pages.files()), "run `make generated`"


def test_a_page_names_what_the_help_names():
    page = verb_pages.pages()["translate.md"]
    for word in (
        "STUDENT",
        "[FILES]...",
        "--set KEY=VALUE",
        "--output PATH, -o PATH",
        "--scores`",
    ):
        assert f"`{word}" in page
    assert len(verb_pages.verbs()) >= 10


@pytest.mark.slow
def test_the_licence_of_each_dependency_is_known():
    packages = licences.needed()
    assert len(packages) > 50
    assert [n for n, p in packages.items() if licences.licence(p) == licences.UNKNOWN] == []
    page = licences.PAGE.read_text(encoding="utf-8")
    for requirement in licences.requirements(licences.distribution("kdray"), frozenset()):
        assert f"| **{requirement.name.lower()}** |" in page, "run `make generated`"


def test_the_site_lists_every_page():
    """Without mkdocs, which would find it out too."""
    root = Path(__file__).parents[1]
    nav = (root / "mkdocs.yml").read_text(encoding="utf-8").partition("nav:")[2]
    listed = re.findall(r"[\w/]+\.md", nav)
    assert len(listed) == len(set(listed))
    docs = {str(page.relative_to(root / "docs")) for page in (root / "docs").rglob("*.md")}
    of_the_root = {"index.md", "architecture.md", "contributing.md", "changelog.md", "security.md"}
    assert set(listed) == docs | of_the_root
