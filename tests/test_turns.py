"""Several commands at once, in processes of their own: each step is made by one of them."""

import os
import signal
import time
from contextlib import contextmanager

import pytest
import yaml
from micro_study import CONFIG
from storage_laws import forked, wait

from kdray.config.experiment import Experiment
from kdray.plan.step import ENCODED, up_to
from kdray.progress import Display
from kdray.runner import turns
from kdray.runner.make import make_steps
from kdray.runner.study import open_study
from kdray.storage import lease
from kdray.text.jobs import CorpusJob


@pytest.fixture
def built(tmp_path, monkeypatch):
    """The file that tells which process began and ended a corpus, which takes half a second."""
    file, make = tmp_path / "built", CorpusJob.make
    file.touch()

    def slowly(job, *arguments, **options):
        with file.open("a") as log:
            print("begin", os.getpid(), file=log, flush=True)
            counts = make(job, *arguments, **options)
            time.sleep(0.5)
            print("end", os.getpid(), file=log)
        return counts

    monkeypatch.setattr(CorpusJob, "make", slowly)
    for module in (turns, lease):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    return file


def experiment(storage, name="micro"):
    raw = {**yaml.safe_load(CONFIG), "name": name}
    raw["execution"] = {"storage": str(storage), "tracking": {"enabled": False}}
    return Experiment.model_validate(raw)


@contextmanager
def command(storage, name="micro"):
    """A command that makes the text of a study, in a process of its own. -> its id, its output."""
    said = storage.parent / f"said-{time.monotonic_ns()}"

    def body():
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 1)
        with open_study(experiment(storage, name), Display()) as study:
            make_steps(study, up_to(study.plan.steps, ENCODED))

    yield forked(body), said


def begun(built):
    ends = time.monotonic() + 30
    while "begin" not in built.read_text():
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.mark.parametrize("second", ["micro", "another study of the same text"])
def test_the_second_command_waits_says_so_and_finds_what_the_first_made(tmp_path, built, second):
    storage = tmp_path / "runs"
    with command(storage) as (first, _):
        begun(built)
        with command(storage, second) as (other, said):
            assert wait(first, other) == [0, 0]
    assert [line.split()[0] for line in built.read_text().splitlines()] == ["begin", "end"]
    words = " ".join(said.read_text().split())
    assert f"waiting for process {first} on " in words
    assert ("the same study in" in words) == (second == "micro")
    assert ("corpus: waiting for" in words) == (second != "micro")
    assert not list((storage / "leases").iterdir())


@pytest.mark.parametrize("second", ["micro", "another study of the same text"])
def test_what_a_killed_command_was_making_is_made_by_the_one_that_waits(tmp_path, built, second):
    storage = tmp_path / "runs"
    with command(storage) as (first, _):
        begun(built)
        with command(storage, second) as (other, said):
            while "waiting" not in said.read_text() if said.exists() else True:
                time.sleep(0.01)
            os.kill(first, signal.SIGKILL)
            assert wait(first, other) == [-signal.SIGKILL, 0]
    assert [line.split()[0] for line in built.read_text().splitlines()] == ["begin", "begin", "end"]
    assert not list((storage / "leases").iterdir())
    assert not list(storage.glob("*/.*")), "what the first one left half made is gone"


def test_what_another_command_fails_to_make_is_made_here(tmp_path, built, monkeypatch):
    storage, make = tmp_path / "runs", CorpusJob.make

    def fail(job, *arguments, **options):
        make(job, *arguments, **options)
        raise ValueError("a bug")

    with monkeypatch.context() as failing:
        failing.setattr(CorpusJob, "make", fail)
        with command(storage) as (first, _):
            begun(built)
    with command(storage, "another study of the same text") as (other, _):
        assert wait(first, other) == [1, 0]


def test_who_only_looks_waits_for_nobody(tmp_path, built):
    storage = tmp_path / "runs"
    with command(storage) as (first, _):
        begun(built)
        with open_study(experiment(storage), Display(), only_looks=True) as study:
            assert not any(study.is_made(step.key) for step in study.plan.steps)
        assert "end" not in built.read_text()
        assert wait(first) == [0]
