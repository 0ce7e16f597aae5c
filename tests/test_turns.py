"""Several commands at once, in processes of their own: each step is made by one of them."""

import os
import signal
import sys
import time
from contextlib import contextmanager

import pytest
import yaml
from micro_study import CONFIG
from storage_laws import forked, until, wait

from kdray.artifacts import Store
from kdray.config.experiment import Experiment
from kdray.plan.experiment import make_plan
from kdray.plan.step import ENCODED, up_to
from kdray.progress import Display
from kdray.runner import study as study_module
from kdray.runner import turns
from kdray.runner.make import make_steps
from kdray.runner.study import open_study
from kdray.storage import lease
from kdray.text.jobs import CorpusJob

pytestmark = pytest.mark.slow

OTHER = "of-the-same-text"  # another study, whose steps are the same up to the ids


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
        sys.stdout = said.open("w", buffering=1)
        with open_study(experiment(storage, name), Display()) as study:
            make_steps(study, up_to(study.plan.steps, ENCODED))

    yield forked(body), said


def begun(built):
    until(lambda: "begin" in built.read_text())


@pytest.mark.parametrize("second", ["micro", OTHER])
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


@pytest.mark.parametrize("second", ["micro", OTHER])
def test_what_a_killed_command_was_making_is_made_by_the_one_that_waits(tmp_path, built, second):
    storage = tmp_path / "runs"
    with command(storage) as (first, _):
        begun(built)
        with command(storage, second) as (other, said):
            until(lambda: said.exists() and "waiting" in said.read_text())
            os.kill(first, signal.SIGKILL)
            assert wait(first, other) == [-signal.SIGKILL, 0]
    assert [line.split()[0] for line in built.read_text().splitlines()] == ["begin", "begin", "end"]
    Store.open(storage).sweep()  # as each command does that begins
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
    with command(storage, OTHER) as (other, _):
        assert wait(first, other) == [1, 0]


def test_who_has_waited_plans_with_what_users_bring_by_then(tmp_path, built, monkeypatch):
    storage, plans, asked = tmp_path / "runs", [], []

    def planning(*arguments, **options):
        asked.append(options)
        plans.append(make_plan(*arguments, **options))
        return plans[-1]

    with command(storage) as (first, _):
        begun(built)
        monkeypatch.setattr(study_module, "make_plan", planning)
        with open_study(experiment(storage), Display(), all_signals=True, searches=True) as study:
            assert "end" in built.read_text()
            assert study.plan is plans[1]
            assert asked[0] == asked[1], "the same is planned again"
        with open_study(experiment(storage), Display()) as study:
            assert study.plan is plans[2], "it has not waited"
        assert wait(first) == [0]


def test_who_only_looks_waits_for_nobody(tmp_path, built):
    storage = tmp_path / "runs"
    with command(storage) as (first, _):
        begun(built)
        with open_study(experiment(storage), Display(), only_looks=True) as study:
            assert not any(study.is_made(step.key) for step in study.plan.steps)
        assert "end" not in built.read_text()
        assert wait(first) == [0]
