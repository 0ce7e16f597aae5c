"""Command lines without Ray: help, dry runs, and what a user gets wrong."""

import pytest
from micro_study import CONFIG
from typer.testing import CliRunner

from kdray.__main__ import app
from kdray.command import exit_codes


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "micro.yaml"
    path.write_text(CONFIG)
    return path


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("verb", ["study", "tune", "decode", "train", "evaluate", "report", "gate"])
def test_every_verb_has_help(verb):
    found = invoke(verb, "--help")
    assert found.exit_code == 0
    assert "--set" in found.stdout


def test_dry_run_names_every_stage_and_makes_nothing(config, tmp_path):
    storage = tmp_path / "runs"
    found = invoke("study", config, "--dry-run", "--set", f"execution.storage={storage}")
    assert found.exit_code == 0, found.stdout
    for stage in ("corpus", "tokenizer", "teacher", "signals", "student", "scores"):
        assert stage in found.stdout
    assert not list(storage.glob("*/*"))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("recipe.students.seds=[1]", ["recipe.students.seds", "seeds"]),
        ("recipe.tokenizer.vocab_size=3", ["vocab_size", "3"]),
        ("recipe.signals.topk=null", ["hybrid", "distributions on reference"]),
        ("recipe.teacher=null", ["hybrid", "no teacher"]),
        ("recipe.students.sizes={a: {preset: tiny, initial: {kind: prune}}}",
         ["students.sizes.a", "width is 64 and the teacher's 32"]),
        ("execution.storage=/proc/none", ["/proc/none", "cannot be written"]),
        ("recipe.evaluation.bleu_tokenize=13b", ["13b", "13a"]),
    ],
)  # fmt: skip
def test_bad_input_is_one_message_and_exit_code_2(config, capsys, override, words):
    with pytest.raises(SystemExit) as ended, exit_codes():
        app(["study", str(config), "--set", override], standalone_mode=False)
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    for word in words:
        assert word in message.replace("\n", "")


@pytest.mark.slow
def test_search_of_a_value_that_the_method_lacks_is_refused(config, tmp_path, capsys):
    space = "search.space={gate.temper: {kind: choice, values: [1]}}"
    storage = f"execution.storage={tmp_path / 'runs'}"
    with pytest.raises(SystemExit) as ended, exit_codes():
        app(["tune", str(config), "--set", space, "--set", storage], standalone_mode=False)
    assert ended.value.code == 2
    assert "gate.temper" in capsys.readouterr().err
