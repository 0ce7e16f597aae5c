"""Command lines without Ray: help, dry runs, and what a user gets wrong."""

from functools import partial

import pytest
import torch
import yaml
from micro_study import CONFIG
from safetensors.torch import save_file
from typer.testing import CliRunner

from kdray.__main__ import app
from kdray.artifacts import write_json
from kdray.command import exit_codes
from kdray.config.experiment import Experiment
from kdray.fit.job import METHOD_CONFIG, METHOD_WEIGHTS
from kdray.fit.worker import Worker
from kdray.model.storage import save_model, tensors
from kdray.plan.step import ENCODED, STUDENT, TEACHER, up_to
from kdray.progress import Display
from kdray.runner.make import make_steps
from kdray.runner.models import planned_training
from kdray.runner.study import Study, open_study
from kdray.text.tokenizer import Tokenizer

SCORER = (
    "recipe.evaluation.scorers={comet: {kind: command, command: [no-such-scorer], signature: x}}"
)
CHOOSING = [
    f"--set={each}"
    for each in (
        "recipe.methods={best: {kind: scored, by: quality, n: 2}}",
        "search=null",
        "recipe.signals.hypotheses.num_hyps=2",
        "recipe.signals.scores={quality: {kind: scorer, scorer: "
        "{kind: command, command: [no-such-scorer], signature: x}}}",
    )
]
COSTS = (
    "recipe.students.training.budget={kind: target_tokens, costs: runs/reports/micro/costs.json}"
)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "micro.yaml"
    path.write_text(CONFIG)
    return path


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    "verb",
    [
        "study",
        "tune",
        "decode",
        "train",
        "evaluate",
        "report",
        "gate",
        "complexity",
        "translate",
        "serve",
        "export",
    ],
)
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
        ("search.seed=-1", ["search.seed", "greater than or equal to 0"]),
        ("search.seed=4294967296", ["search.seed", "less than 4294967296"]),
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


def refused(capsys, *arguments):
    """What a command says that ends with exit code 2."""
    with pytest.raises(SystemExit) as ended, exit_codes():
        app([str(argument) for argument in arguments], standalone_mode=False)
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return " ".join(message.split())


@pytest.mark.slow
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("search", "words"),
    [("search.space={gate.temper: {kind: choice, values: [1]}}", "gate.temper"),
     ("search=null", "no `search`")],
)  # fmt: skip
def test_a_search_that_cannot_be_made_is_refused(config, tmp_path, capsys, search, words, dry):
    storage = f"execution.storage={tmp_path / 'runs'}"
    assert words in refused(capsys, "tune", config, "--set", search, "--set", storage, *dry)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report"], ["runs: there is no such folder", "micro", "name the storage of a study"]),
        (["study", "--dry-run", "--set", SCORER], ["scorers.comet: command 'no-such-scorer'"]),
        (["study", "--dry-run", *CHOOSING], ["scores (scorer): command 'no-such-scorer'"]),
        (["study", "--dry-run", "--set", COSTS], [".budget.costs: ", "costs.json has no cost of"]),
        (["study", "--dry-run", "--set", "execution.storage=s3:y"], ["neither a folder nor a URI"]),
    ],
)
def test_what_only_looks_refuses_what_could_not_be_used_and_names_the_file(
    config, tmp_path, capsys, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    costs = tmp_path / "runs" / "reports" / "micro" / "costs.json"
    if COSTS in arguments:
        write_json(costs, {"versions": {}, "costs": []})
    verb, *others = arguments
    message = refused(capsys, verb, config, *others)
    assert all(word in message for word in words), message
    if verb != "report":
        assert f"error: {config}: ".replace(" ", "") in message.replace(" ", "")
    assert (tmp_path / "runs").exists() == (COSTS in arguments)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["teacher", "nano/cross_entropy/seed-1"])
def test_dev_that_a_model_cannot_read_ends_a_study_before_the_teacher(
    config, tmp_path, capsys, monkeypatch, model
):
    monkeypatch.setattr(Study, "start_ray", lambda study: pytest.fail("it went on"))
    raw = yaml.safe_load(CONFIG)
    nano = raw["recipe"]["students"]["sizes"]["nano"]
    (raw["recipe"]["teacher"]["model"] if model == "teacher" else nano)["max_length"] = 8
    storage = tmp_path / "runs"
    raw["execution"] = {"storage": str(storage), "tracking": {"enabled": False}}
    config.write_text(yaml.safe_dump(raw))
    message = refused(capsys, "train", config)
    for words in ("dev: ", " of 20 pairs", f"than {model} reads", "its max_length is 8", "shorten"):
        assert words in message
    assert not (storage / "model").exists()
    assert not (storage / "work").exists()


@pytest.fixture
def with_gate(config, tmp_path):
    """Publish untrained models that read so many tokens. -> the configuration."""

    def make(*, teacher, student):
        raw = yaml.safe_load(CONFIG)
        raw["recipe"]["teacher"]["model"]["max_length"] = teacher
        raw["recipe"]["students"]["sizes"]["nano"]["max_length"] = student
        raw["execution"] = {"storage": str(tmp_path / "runs"), "tracking": {"enabled": False}}
        config.write_text(yaml.safe_dump(raw))
        with open_study(Experiment.model_validate(raw), Display()) as study:
            make_steps(study, up_to(study.plan.steps, ENCODED))
            for step in (*study.plan.of(TEACHER), *study.plan.of(STUDENT)):
                study.store.publish(step.key, partial(untrained, study, step))
        return config

    return make


def untrained(study, step, folder):
    job = planned_training(study, step).job
    tokenizer = Tokenizer.load(job.fetch(job.spec.tokenizer))
    objective = job.objective(tokenizer, Worker(device=torch.device("cpu")))
    save_model(folder, job.shape(tokenizer), tensors(objective.student))
    save_file(tensors(objective.method), folder / METHOD_WEIGHTS)
    write_json(folder / METHOD_CONFIG, job.spec.method.model_dump(mode="json"))
    tokenizer.save(folder)
    return {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("teacher", "student", "src", "ref", "what"),
    [
        (256, 64, 70, 3, "source"),
        (64, 256, 70, 3, "source"),
        (256, 64, 3, 70, "reference"),
        (256, 64, 20, 3, "teacher's translation"),
    ],
)
def test_a_line_that_is_too_long_for_the_gate_is_named(
    with_gate, tmp_path, capsys, teacher, student, src, ref, what
):
    config, file = with_gate(teacher=teacher, student=student), tmp_path / "lines.tsv"
    file.write_text(f"a\tb\n{'a ' * src}\t{'b ' * ref}\n")
    message = refused(capsys, "gate", config, "nano/hybrid/seed-1", file)
    for words in (f"{file}, line 2: the {what} has ", " read 64 at most", "shorten or split"):
        assert words.replace(" ", "") in message.replace(" ", "")  # where the terminal breaks it
    file.write_text("a\tb\n")
    found = invoke("gate", config, "nano/hybrid/seed-1", file)
    assert found.exit_code == 0, found.output
    assert found.output.splitlines()[1].endswith("\ta")


@pytest.mark.slow
def test_a_model_is_translated_with_by_its_name_and_by_its_fingerprint(with_gate, tmp_path):
    config, file = with_gate(teacher=64, student=64), tmp_path / "lines.txt"
    file.write_text("a\n\na a\n")
    (model, *_) = (tmp_path / "runs" / "model").iterdir()
    names = ["teacher", "nano/cross_entropy/seed-1", "nano/hybrid/seed-1"]
    outputs = [invoke("translate", name, file, "--config", config).stdout for name in names]
    found = invoke("translate", model.name, file, "--storage", tmp_path / "runs", "--beam", 2)
    assert found.exit_code == 0, found.output
    assert found.stdout in outputs
    assert invoke("translate", model, file, "--beam", 2).stdout == found.stdout
    assert all(output.splitlines()[1] == "" and output.count("\n") == 3 for output in outputs)
    wrong = invoke("translate", "nano/none/seed-1", file, "--config", config)
    assert "there are teacher, nano/cross_entropy/seed-1" in str(wrong.exception)
