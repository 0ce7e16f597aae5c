"""The command, with a model that was never trained."""

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kdray.__main__ import app
from kdray.artifacts import Brought, Key, Store
from kdray.command import exit_codes
from kdray.errors import ArtifactDamaged
from kdray.model.generate import SearchOptions
from kdray.plan.brought import brought_model
from kdray.teacher.own import OwnModels

SOURCES = ["a b c", "", "b " * 40, "c a", "   "]


def run(*arguments):
    return CliRunner().invoke(app, ["translate", *map(str, arguments)])


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as ended, exit_codes():
        app(["translate", *map(str, arguments)], standalone_mode=False)
    assert ended.value.code == 2
    return " ".join(capsys.readouterr().err.split())


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"{line}\n" for line in SOURCES))
    return path


def expected(folder, work, sources, **options):
    teacher = OwnModels((Brought(folder, "nonsense"),))
    teacher.prepare(work, lambda source: source.path, device="cpu")
    engine = teacher.open(lambda source: source.path, device="cpu", threads=1, work=work)
    return engine.translate(sources, SearchOptions(**options))


@pytest.mark.slow
def test_it_translates_as_evaluation_does(nonsense, file, tmp_path):
    out = tmp_path / "out.tsv.gz"
    found = run(nonsense, file, "-o", out, "--beam", 3, "--threads", 2, "--scores")
    assert found.exit_code == 1  # a sentence is too long
    lines = gzip.decompress(out.read_bytes()).decode().split("\n")[:-1]
    assert len(lines) == len(SOURCES)
    (first,), (second,) = expected(nonsense, tmp_path / "w", ["a b c", "c a"], beam=3)
    for line, hyp in ((lines[0], first), (lines[3], second)):
        assert line == f"{hyp.text}\t{hyp.score:.4f}"
    assert lines[1] == lines[4] == "\t0.0000"
    assert lines[2] == "\t"


@pytest.mark.slow
def test_a_pipe_is_answered_line_by_line(nonsense):
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-m", "kdray.translate", str(nonsense)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    ) as process:
        assert process.stdin
        assert process.stdout
        answers = []
        for line in (b"a b\n", b"\n", b"a b\n"):
            process.stdin.write(line)
            process.stdin.flush()
            answers.append(process.stdout.readline())
        process.stdin.close()
        assert process.stdout.read() == b""
    assert process.returncode == 0
    assert answers[0] == answers[2] != b"\n"
    assert answers[1] == b"\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no/such/model"], "neither the folder of a model nor a fingerprint"),
        (["0123456789abcdef", "--storage", "nowhere"], "no such model in"),
        (["."], "model.json: no such file"),
        (["{model}", "absent.txt"], "absent.txt: no such file"),
        (["{model}", "--beam", "2", "--n-best", "3"], "--n-best 3: a beam of 2 finds 2"),
        (["{model}", "--format", "xml"], "there are text, tsv and jsonl"),
        (["{model}", "--column", "1"], "--column is of tables"),
        (["{model}", "--field", "x"], "--field is of JSON lines"),
        (["{model}", "--set", "a=1"], "name one with --config"),
        (["{model}", "{file}", "-o", "/no/folder/out"], "--output /no/folder/out"),
    ],
)
def test_what_is_asked_for_wrongly_is_one_message(
    arguments, words, nonsense, file, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    message = refused(capsys, *(each.format(model=nonsense, file=file) for each in arguments))
    assert words in message
    assert "Traceback" not in message


def test_a_student_in_another_form_is_told_from_a_student(tmp_path, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.bin").touch()
    assert "CTranslate2's form" in refused(capsys, tmp_path)


@pytest.fixture
def published(nonsense, tmp_path):
    """A storage with two equal models, and their keys."""
    store, keys = Store.open(tmp_path / "runs"), [Key("model", 1, {"seed": n}) for n in (1, 2)]

    def copied(folder):
        shutil.copytree(nonsense, folder, dirs_exist_ok=True)
        return {}

    for key in keys:
        store.publish(key, copied)
    return store, keys


@pytest.mark.slow
def test_another_model_in_the_place_of_one_is_not_taken_for_it(published, file, capsys):
    store, (one, other) = published
    shutil.rmtree(store.path(one))
    shutil.copytree(store.path(other), store.path(one))
    line = ["translate", one.fingerprint, str(file), "--storage", str(store.root)]
    with pytest.raises(SystemExit) as ended, exit_codes():
        app(line, standalone_mode=False)
    assert ended.value.code == 1
    assert f"record.json: is that of {other.place}; remove" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.json", "weights.safetensors", "joint.model"])
def test_a_published_folder_is_proved_wherever_it_is(published, tmp_path, name):
    store, (key, _) = published
    folder = shutil.copytree(store.path(key), tmp_path / "taken home")
    assert brought_model(folder).path == folder
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ArtifactDamaged, match=f"/{name}: .*; copy the folder again as it was"):
        brought_model(folder)
