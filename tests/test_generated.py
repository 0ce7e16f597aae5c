"""What is worked out from the code is up to date: `make generated` writes it anew."""

from pathlib import Path

import jsonschema
import pytest

from kdray.config.load import read_yaml
from kdray.config.shipped import FOLDER, SCHEMA
from tools.config_schema import documented_keys, experiment_schema, written

CONFIGS = sorted(FOLDER.glob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(experiment_schema())


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


def test_what_keys_mean_is_there():
    schema, meanings = experiment_schema(), dict(documented_keys())
    assert len(meanings) > 150
    updates = schema["$defs"]["TrainingConfig"]["properties"]["updates"]
    assert updates["description"] == meanings["TrainingConfig", "updates"]
