"""A form of students from another package: what it does wrong harms nothing beside it."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from kdray_toys.export_config import WordsConfig

from kdray.artifacts import RECORD, Key, Store, write_json
from kdray.config.execution import Execution
from kdray.config.model import ModelConfig
from kdray.export import job as jobs
from kdray.export.about import About
from kdray.export.base import Export, ExportFailed
from kdray.export.card import CARD
from kdray.export.job import ExportJob
from kdray.export.measure import MEASURED
from kdray.model.storage import SHAPE, Shape
from kdray.plan.step import EXPORT, Step
from kdray.progress import Display
from kdray.runner.make import make_steps

STUDENT = Key("model", 1, {})
ABOUT = About("nano")
CONFIG = WordsConfig(kind="toy_words")


def exits(config, student, folder):
    raise SystemExit(0)


def writes(name):
    def write(config, student, folder):
        (folder / name).write_text("{}")
        return {}

    return write


def writes_a_link(config, student, folder):
    (folder / "words.txt").symlink_to(student / "weights")
    return {}


def writes_a_pipe(config, student, folder):
    os.mkfifo(folder / "words.txt")
    return {}


def removes_its_folder(config, student, folder):
    shutil.rmtree(folder)
    return {}


def counts_a_path(config, student, folder):
    (folder / "words.txt").write_text("a")
    return {"written": folder}


def destroys_its_student(config, student, folder):
    (folder / "words.txt").write_bytes((student / "weights").read_bytes())
    shutil.rmtree(student)
    return {"words": 1}


WRONG = [
    (lambda *_: 1 / 0, "ZeroDivisionError: division by zero"),
    (lambda *_: None, "TypeError: 'NoneType' object is not iterable"),
    (lambda *_: {}, "wrote no file"),
    (exits, "SystemExit: 0"),
    (removes_its_folder, "wrote no file"),
    (counts_a_path, "TypeError: Object of type"),
    (lambda *_: {"notes": 3}, "name 'notes', which kdray shows as a list"),
    (writes(RECORD), f"wrote {RECORD}, a name that kdray keeps"),
    (writes(CARD), f"wrote {CARD}, a name that kdray keeps"),
    (writes(MEASURED), f"wrote {MEASURED}, a name that kdray keeps"),
    (writes_a_link, "wrote words.txt, which is neither a plain file nor a folder"),
    (writes_a_pipe, "wrote words.txt, which is neither a plain file nor a folder"),
]


@pytest.fixture
def store(tmp_path):
    store = Store.open(tmp_path / "storage")
    store.publish(STUDENT, write_student)
    return store


def write_student(folder):
    """Of a student there is no more than its card needs."""
    sizes = {"src_vocab": 20, "tgt_vocab": 20, "shared": True}
    shape = Shape(config=ModelConfig(preset="nano"), tokenizer="none", **sizes)
    write_json(folder / SHAPE, shape.model_dump(mode="json"))
    return {"bytes": (folder / "weights").write_bytes(b"1")}


@pytest.mark.parametrize(("write", "told"), WRONG)
def test_what_cannot_be_published_is_told(store, monkeypatch, write, told):
    monkeypatch.setattr(jobs, "export_of", lambda kind: Export(write))
    job = ExportJob(CONFIG, STUDENT, ABOUT)
    with pytest.raises(ExportFailed, match=told):
        store.publish(job.key, lambda folder: job.make(folder, store.fetch, threads=1))
    assert store.find(job.key) is None


def test_it_works_on_a_copy_of_the_student(store, monkeypatch):
    monkeypatch.setattr(jobs, "export_of", lambda kind: Export(destroys_its_student))
    job = ExportJob(CONFIG, STUDENT, ABOUT)
    made = store.publish(job.key, lambda folder: job.make(folder, store.fetch, threads=1))
    assert made.counts["words"] == made.counts["measured"]["bytes"] == 1
    store.verify(STUDENT)
    assert (store.fetch(STUDENT) / "weights").read_bytes() == b"1"


def test_what_nobody_can_open_says_so_on_its_card(store, monkeypatch):
    monkeypatch.setattr(jobs, "export_of", lambda kind: Export(destroys_its_student))
    job = ExportJob(CONFIG, STUDENT, ABOUT)
    made = store.publish(job.key, lambda folder: job.make(folder, store.fetch, threads=1))
    card = (made.path / CARD).read_text()
    assert "# nano as toy_words" in card
    assert "Not checked: the package" in card
    assert "Not scored: the package" in card


def test_one_that_fails_keeps_no_other_from_being_made(store, monkeypatch, without_ray):
    """And the command goes on to its report."""

    def write(config, student: Path, folder: Path):
        if config.first == 1:
            raise SystemExit(0)
        return destroys_its_student(config, student, folder)

    monkeypatch.setattr(jobs, "export_of", lambda kind: Export(write))
    steps = [
        Step(ExportJob(CONFIG.model_copy(update={"first": first}), STUDENT, ABOUT),
             EXPORT, f"nano as {first}", f"Export as {first}")
        for first in (1, 2)
    ]  # fmt: skip
    study = SimpleNamespace(
        store=store, display=Display(), failures={}, plan=SimpleNamespace(steps=steps),
        experiment=SimpleNamespace(execution=Execution()), start_ray=lambda: None,
        is_made=lambda key: store.find(key) is not None,
    )  # fmt: skip
    make_steps(study, steps)
    assert [study.is_made(step.key) for step in steps] == [False, True]
    (failure,) = study.failures.values()
    assert str(failure).startswith("SystemExit: 0; repair what writes this form")
