"""Values that YAML can express and no configuration needs are refused at once, with their line."""

import json
import time
from pathlib import Path

import pytest

from kdray.config.costs import read_costs
from kdray.config.faults import MOST
from kdray.config.load import load_experiment
from kdray.config.model import ModelConfig
from kdray.config.plain_yaml import parse
from kdray.errors import ConfigError

ALIASES = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)
CHAIN = "c0: &c0 [x]\n" + "".join(f"c{i}: &c{i} [*c{i - 1}]\n" for i in range(1, 200))


def refusal(folder: Path, text: str) -> str:
    path = folder / "given.yaml"
    path.write_text(text, encoding="utf-8")
    began = time.monotonic()
    with pytest.raises(ConfigError) as refused:
        load_experiment(path)
    assert time.monotonic() - began < 5
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert len(message) < 500
    return message


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("!!int abc", "'abc' is not usable as int"),
        ("!!float abc", "'abc' is not usable as float"),
        ("!!bool maybe", "'maybe' is not usable as bool"),
        ("!!timestamp 2026-99-99", "'2026-99-99' is not usable as timestamp"),
        ("!!timestamp abc", "'abc' is not usable as timestamp"),
        ("!!omap 3", "expected a sequence"),
        ("9" * 6000, "is not usable as int"),
        ("9" * 4000, "more than 64 bits"),
        ("0x" + "f" * 9000, "more than 64 bits"),
        ("[" * 3000 + "]" * 3000, "nested deeper than 50 levels"),
        ("{a: " * 3000 + "1" + "}" * 3000, "nested deeper than 50 levels"),
        (r'"a\0b"', "holds a NUL character"),
        (r'"a\uD800b"', r"'a\ud800b' is not usable as str"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_line(tmp_path, value, words):
    message = refusal(tmp_path, f"name: x\nrecipe:\n  corpus: {value}\n")
    assert words in message
    assert "line 3, column" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ALIASES, "stands for more than 100000 values"),
        (ALIASES + "b: {<<: {c: *a8}}", "stands for more than 100000 values"),
        ("x: &x [*x]", "stands for itself"),
        ("x: &x {<<: *x}", "stands for itself"),
    ],
)
def test_aliases_that_multiply_are_not_followed(tmp_path, text, words):
    assert words in refusal(tmp_path, text)


def test_a_long_chain_of_aliases_is_a_short_way(tmp_path):
    assert "c0: no such key" in " ".join(refusal_of_any_length(tmp_path, CHAIN).split())


def refusal_of_any_length(folder, text):
    path = folder / "given.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_experiment(path)
    return str(refused.value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("recipe.corpus.train_pairs=true", "train_pairs is true, and must be a number"),
        ("recipe.evaluation.length_penalty=false", "length_penalty is false"),
        ("recipe.students.seeds=[1,true]", "seeds is [1, true]"),
        ("execution.storage=''", "execution.storage: an empty name"),
        ("execution.storage=' '", "execution.storage: an empty name"),
        ("recipe.teacher={kind: checkpoint, path: ''}", "path: an empty name"),
        ("recipe.corpus.seed=!!int abc", "--set recipe.corpus.seed=!!int abc"),
        ("recipe.students.sizes.nano={preset: nano, width: 2000000}", "has 4.8e+13 weights"),
        ("recipe.students.sizes.nano={encoder_layers: 1000000}", "less than or equal to 1000"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(load, override, words):
    with pytest.raises(ConfigError) as refused:
        load(override)
    assert words in " ".join(str(refused.value).split())


def test_true_still_is_true_where_it_is_due_or_anything_is(load):
    space = "search={methods: token_level, space: {alpha: {kind: choice, values: [true]}}}"
    loaded = load("execution.use_gpu=true", space)
    assert loaded.execution.use_gpu is True
    assert loaded.search.space["alpha"].values == (True,)


def test_large_models_are_possible():
    assert ModelConfig(preset="base", width=4096, heads=32, feedforward=16384).width == 4096


@pytest.mark.parametrize("read", [load_experiment, read_costs])
def test_a_file_without_end_is_refused(read):
    with pytest.raises(ConfigError, match=r"^/dev/zero: is longer than (1|16) MiB; give the "):
        read(Path("/dev/zero"))


@pytest.mark.slow
def test_of_many_faults_the_first_are_told(tmp_path):
    update = {"method": {}, "sequences": 1, "reads": {}, "model": {}, "tokens_per_update": 1}
    row = {"update": update, "machine": {}, "updates": 0, "target_tokens": 1, "seconds": 1}
    path = tmp_path / "costs.json"
    path.write_text(json.dumps({"versions": {}, "costs": [row] * 1000}))
    with pytest.raises(ConfigError) as refused:
        read_costs(path)
    *told, last = str(refused.value).splitlines()
    assert len(told) == MOST
    assert last == f"{path}: and {4000 - MOST} faults more"


@pytest.mark.parametrize(
    ("written", "value"),
    [("0310", 310), ("3:20", "3:20"), ("0x1F", 31), ("0o17", 15), ("-7", -7), ("+8", 8), ("0", 0)],
)
def test_numbers_are_those_of_yaml_1_2(written, value):
    assert parse(f"a: {written}") == {"a": value}


@pytest.mark.parametrize(
    "override",
    [
        "recipe.evaluation.bootstrap_samples=1000000000000",
        "recipe.corpus.train_pairs=9000000000000000000",
        "execution.connect_seconds=1e300",
        "execution.tracking.uri=''",
        "execution.address=''",
    ],
)
def test_what_would_only_break_later_is_refused(load, override):
    with pytest.raises(ConfigError, match=override.partition("=")[0]):
        load(override)
