"""The command: what it refuses before anything is written, and what it leaves."""

import shutil
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from kdray.__main__ import app
from kdray.artifacts import Store, write_json
from kdray.command import exit_codes
from kdray.errors import InputError
from kdray.export.base import ExportFailed
from kdray.export.card import CARD
from kdray.export.measure import MEASURED
from kdray.keys import Key
from kdray.model.storage import SHAPE, WEIGHTS
from kdray.runner import hand_over as handing
from kdray.runner.asked_forms import codes_of, forms_of
from kdray.runner.hand_over import in_its_storage

FORM = "safetensors"


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as ended, exit_codes():
        app(["export", *map(str, arguments)], standalone_mode=False)
    said = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == 2, said
    assert said.count("error:") == 1
    return said


@pytest.fixture
def student(untrained, tmp_path):
    return shutil.copytree(untrained["joint"], tmp_path / "student")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no/such", "--to", FORM], "neither the folder of a model nor a fingerprint"),
        (["0123456789abcdef", "--storage", "nowhere", "--to", FORM], "no such model in"),
        (["{student}", "--to", "onnx"], "--to onnx: there is no such form; there are ctranslate2,"),
        (["{student}", "--to", "argos"], "from_code is missing; give codes as --languages de-en"),
        (["{student}", "--to", "argos", "--languages", "german"], "give two codes, as de-en"),
        (["{student}", "--to", "{{kind: [}}"], "is no YAML"),
        (["{student}", "--to", "{{kind: ctranslate2, quantization: int4}}"], "quantization: Input"),
        (["{student}", "--to", "{{kind: ctranslate2, quantisation: int8}}"], "quantisation: Extra"),
        (["{separate}", "--to", "argos", "--languages", "de-en"], "a vocabulary for each side"),
        (["{separate}", "--to", "huggingface"], "a vocabulary for each side"),
        (["{student}", "--to", FORM, "--set", "a=1"], "name one with --config"),
        (["{student}", "--to", FORM, "-o", "{student}/model.json/x"], "name another folder"),
    ],
)
def test_what_is_asked_for_wrongly_is_one_message(
    arguments, words, student, untrained, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    names = {"student": student, "separate": untrained["separate"]}
    message = refused(capsys, *(each.format(**names) for each in arguments))
    assert words in message
    assert not (tmp_path / "exports").exists()


def test_a_damaged_student_is_one_message(student, capsys, tmp_path):
    weights = student / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "cannot be read as safetensors" in refused(capsys, student, "--to", FORM)
    (student / SHAPE).write_text("{}")
    assert "not the description of a kdray model" in refused(capsys, student, "--to", FORM)


def copied(student, folder):
    shutil.copytree(student, folder, dirs_exist_ok=True)
    return {}


def test_a_student_that_rotted_in_its_storage_is_one_message(student, capsys, tmp_path):
    store, key = Store.open(tmp_path / "storage"), Key("model", 1, {})
    made = store.publish(
        key, lambda folder: shutil.copytree(student, folder, dirs_exist_ok=True) and {}
    )
    path = made.path / SHAPE
    path.write_bytes(path.read_bytes().replace(b"512", b"511"))
    for name in (key.fingerprint, made.path):
        message = refused(capsys, name, "--storage", tmp_path / "storage", "--to", FORM)
        assert "model.json" in message


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_what_is_no_form_of_kdrays_is_never_replaced(student, capsys, tmp_path, overwrite):
    place = tmp_path / "out" / FORM
    place.mkdir(parents=True)
    (place / "thesis.txt").write_text("years of work")
    message = refused(capsys, student, "--to", FORM, "-o", tmp_path / "out", *overwrite)
    assert "is there already" in message or "is no form that kdray wrote" in message
    assert (place / "thesis.txt").read_text() == "years of work"


@pytest.fixture
def job_that(monkeypatch):
    """Lets a function do what the job of every form does."""

    def sets(make):
        monkeypatch.setattr(handing.ExportJob, "make", make)

    return sets


def written(name):
    def make(job, folder, fetch, *, threads):
        (folder / CARD).write_text(name)
        write_json(folder / MEASURED, {})
        return {"measured": {"checked": None, "scores": {}, "bytes": 1, "cost": None, "notes": []}}

    return make


def test_a_form_is_replaced_only_when_asked_and_only_by_a_whole_one(
    student, capsys, tmp_path, job_that
):
    arguments = ("export", str(student), "--to", FORM, "-o", str(tmp_path / "out"))
    card = tmp_path / "out" / FORM / CARD
    job_that(written("first"))
    assert CliRunner().invoke(app, arguments).exit_code == 0
    job_that(written("second"))
    assert "is there already" in refused(capsys, *arguments[1:])
    assert card.read_text() == "first"

    def fails(job, folder, fetch, *, threads):
        written("third")(job, folder, fetch, threads=1)
        raise ExportFailed("it is another model")

    job_that(fails)
    assert CliRunner().invoke(app, [*arguments, "--overwrite"]).exit_code == 1
    assert card.read_text() == "first"
    job_that(written("fourth"))
    assert CliRunner().invoke(app, [*arguments, "--overwrite"]).exit_code == 0
    assert card.read_text() == "fourth"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [FORM]


KILLED = """
import os, signal, sys
from pathlib import Path
from kdray.export.card import CARD
from kdray.export.measure import MEASURED
from kdray.runner import hand_over

place, at = Path(sys.argv[1]), int(sys.argv[2])
moves = []
for name in ("rename", "replace"):
    def counted(path, target, move=getattr(Path, name)):
        if place in (path, target):  # and not those of the lease
            moves.append(path)
        if len(moves) > at:
            os.kill(os.getpid(), signal.SIGKILL)
        return move(path, target)
    setattr(Path, name, counted)
with hand_over._in_place(place, overwrite=True) as folder:
    (folder / CARD).write_text("second")
    (folder / MEASURED).write_text("{}")
"""


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_form_that_was_there_is_never_lost(student, capsys, tmp_path, job_that, at):
    """Whichever move a kill comes before."""
    out = tmp_path / "out"
    place = out / FORM
    job_that(written("first"))
    arguments = ("export", str(student), "--to", FORM, "-o", str(out))
    assert CliRunner().invoke(app, arguments).exit_code == 0
    done = subprocess.run([sys.executable, "-c", KILLED, place, str(at)], check=False)
    assert done.returncode == (0 if at == 2 else -signal.SIGKILL)
    job_that(written("third"))
    assert "is there already" in refused(capsys, *arguments[1:])
    assert (place / CARD).read_text() in ("first", "second")
    assert CliRunner().invoke(app, [*arguments, "--overwrite"]).exit_code == 0
    assert (place / CARD).read_text() == "third"
    assert [path.name for path in out.iterdir()] == [FORM]


def test_forms_are_named_as_users_and_studies_name_them():
    exports = forms_of(["{kind: ctranslate2, quantization: float16}"], {}, None)
    named = forms_of(
        ["mine, ctranslate2-int8", "argos"], {"mine": exports["ctranslate2"]}, ("de", "en")
    )
    assert list(named) == ["mine", "ctranslate2-int8", "argos"]
    assert named["mine"].quantization == "float16"
    assert (named["argos"].from_code, named["argos"].to_code) == ("de", "en")
    assert codes_of("zh-Hans:pt-BR") == ("zh-Hans", "pt-BR")
    with pytest.raises(InputError, match="give two codes"):
        codes_of("de")


def test_a_folder_in_a_storage_is_known_by_its_fingerprint(student, tmp_path):
    store = Store.open(tmp_path / "storage")
    made = store.publish(Key("model", 1, {}), lambda folder: copied(student, folder))
    found = in_its_storage(str(made.path), "runs")
    assert found == (made.key.fingerprint, str(tmp_path / "storage"))
    assert in_its_storage(str(student), "runs") == (str(student), "runs")


@pytest.mark.slow
def test_a_folder_that_nobody_knows_anything_of_is_exported_all_the_same(students, tmp_path):
    """It is tried on made-up text, and not scored."""
    student, out = students["joint"], tmp_path / "out"
    forms = ("ctranslate2", FORM)
    arguments = [each for form in forms for each in ("--to", form)]
    done = CliRunner().invoke(app, ["export", str(student), *arguments, "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == sorted(forms)
    for form in forms:
        card = (out / form / CARD).read_text()
        assert "made-up lines" in card
        assert "Not scored: the text that it was scored on is not at hand." in card
        assert "one sentence alone" in card
    assert (out / FORM / WEIGHTS).read_bytes() == (student / WEIGHTS).read_bytes()
