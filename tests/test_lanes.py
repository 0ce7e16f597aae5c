"""Students that share their processes are those that were trained alone, whatever befalls them."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace

import lane_studies
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdray.artifacts import Key, Store, read_json
from kdray.cluster.lanes import Group, train
from kdray.cluster.session import Width, session
from kdray.cluster.task import make_each
from kdray.cluster.train import PlannedTraining
from kdray.config.execution import Execution
from kdray.config.training import TrainingConfig
from kdray.errors import StageFailed
from kdray.fit.history import HISTORY, read_history
from kdray.fit.job import MACHINE, METHOD_WEIGHTS
from kdray.model.storage import WEIGHTS
from kdray.pipeline import run_steps
from kdray.plan.step import SCORES, Step
from kdray.storage.queue import Queue
from kdray.tracking import PlannedRun, Tracker


def models(storage):
    """The weights of each student and of its method, by its fingerprint."""
    return {
        folder.name: [(folder / name).read_bytes() for name in (WEIGHTS, METHOD_WEIGHTS)]
        for folder in (storage / "model").iterdir()
    }


FATES = st.lists(st.sampled_from(["finishes", "fails", "dies"]), max_size=30)


@pytest.mark.slow
@given(FATES, st.integers(0, 2))
@settings(max_examples=40)
def test_deaths_count_against_the_model_in_hand_and_no_other(tmp_path_factory, fates, most):
    """Whatever befalls the lanes, each model ends once; as failed after too many deaths of it."""
    queue = Queue.new(tmp_path_factory.mktemp("lanes") / "queue", 4)
    group = Group(Width(1, 1), 2, ("a", "b", "c", "d"), (), queue)
    fates, lanes, deaths, ended, failing = iter(fates), [], Counter(), [], set()
    while len(ended) < 4:
        if group.lanes_wanted() > 0 and len(lanes) < group.most:
            lanes.append(group.new_lane(Execution()).name)
        lane = lanes.pop(0)
        number = queue.take(lane)
        if number is None:
            group.close(lane, None, max_failures=most, others=False)
            continue
        fate, name = next(fates, "finishes"), group.names[number]
        assert group.in_hand()[lane] == name
        if fate == "dies":
            group.close(lane, "lightning", max_failures=most, others=False)
            deaths[name] += 1
        else:
            lanes.append(lane)
            if fate == "fails":
                queue.fail(number, "diverged")
                failing.add(name)
            else:
                queue.finish(lane, number)
        ended += group.ended()
    assert sorted(name for name, _ in ended) == ["a", "b", "c", "d"]
    assert {name for name, why in ended if why is not None} == {
        name for name in group.names if name in failing or deaths[name] > most
    }
    assert all(count <= most + 1 for count in deaths.values())
    assert list(group.lost()) == []
    assert group.lanes_wanted() <= 0


def test_lanes_that_die_before_they_begin_anything_end_the_command(tmp_path):
    """Unless another lane goes on, which does all that is left."""
    group = Group(Width(1, 1), 2, ("a", "b", "c"), (), Queue.new(tmp_path / "queue", 3))

    def begin():
        return group.new_lane(Execution()).name

    def end(lane, why):
        group.close(lane, why, max_failures=1, others=False)

    lives = begin()
    group.queue.finish(lives, group.queue.take(lives))
    for _ in range(2):
        end(begin(), "no room")
    assert (group.most, group.lanes_wanted()) == (1, 1)
    group.queue.take(lives)
    end(lives, "lightning")  # it had begun trainings, so a new one may
    end(begin(), "no room")
    with pytest.raises(StageFailed, match="no training can be begun: no room"):
        end(begin(), "no room")
    assert group.queue.waiting() == [1, 2]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(600)
def test_no_student_leaves_anything_to_the_next(tmp_path, without_ray):
    """Of every two students each comes before the other once, in a process that is new."""
    orders = {order: tmp_path / order for order in ("forwards", "backwards")}
    with lane_studies.study(orders["forwards"]) as study:
        run_steps(study, "decode")
    shutil.copytree(orders["forwards"], orders["backwards"], symlinks=True)
    of_teacher = models(orders["forwards"]).keys()
    for order, storage in orders.items():
        line = [sys.executable, lane_studies.__file__, str(storage), order]
        subprocess.run(line, check=True, timeout=280)
    ours, theirs = (models(storage) for storage in orders.values())
    assert len(ours) - len(of_teacher) == len(lane_studies.METHODS) + 2
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


def deadly(fetch, counts):
    """Gets what a training reads, and ends the process that asks for it; counts how often."""

    def fetch_or_die(source):  # sent to workers whole: they do not know this file
        if source.fingerprint == "encoded":
            (counts / f"{time.monotonic_ns()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return fetch(source)

    return fetch_or_die


@pytest.fixture(scope="module")
def two_cpus():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        asked = {"train_workers": 2, "cpus_per_worker": 1, "parallel_students": 2}
        execution = Execution(cpus=2, max_failures=1, **asked)  # for one of the lanes there is room
        with session(execution):
            yield execution


@pytest.fixture
def lane(two_cpus, toy_job, changed_job):
    """Trains students of some updates one after another. -> the storage, and each one's failure."""

    def trained(storage, updates, *, wide=(), dying=(), diverging=(), execution=two_cpus):
        trainings = {}
        for seed, length in enumerate(updates):
            peak = 1e30 if seed in diverging else 0.01
            tokens = 1024 if seed in wide else 512
            training = {"updates": length, "tokens_per_update": tokens, "checkpoint_every": 5,
                        "schedule": {"kind": "inverse_sqrt", "peak": peak, "warmup": 1},
                        "averaging": {"kind": "none"}}  # fmt: skip
            job = changed_job(toy_job, training=TrainingConfig.model_validate(training), seed=seed)
            store = Store(storage)
            fetch = deadly(job.fetch, storage) if seed in dying else job.fetch
            job = replace(job, folder=store.work_path(job.spec.key), fetch=fetch)
            run = PlannedRun(Tracker(), f"seed {seed}", None, None, {}, {})
            trainings[f"seed {seed}"] = PlannedTraining(job, store, run)
        ends = train(
            trainings,
            execution=execution,
            runs=len(updates),
            folder=storage / "lanes",
            watch=lambda names: None,
        )
        failures = dict(ends)
        assert failures.keys() == trainings.keys()
        assert not (storage / "lanes").exists()
        return trainings, failures

    return trained


def kill_a_worker_at(checkpoint):
    """Wait for a checkpoint, beside the test, and kill one of Ray's workers then. -> when."""
    died = []

    def wait():
        while not checkpoint.exists():
            time.sleep(0.005)
        workers = (
            process
            for process in psutil.Process().children(recursive=True)
            if "RayTrainWorker" in " ".join(process.cmdline())
        )
        died.append(time.time())
        next(workers).kill()

    threading.Thread(target=wait, daemon=True).start()
    return died


@pytest.mark.long
@pytest.mark.ray
@pytest.mark.slow
def test_a_worker_that_dies_costs_a_checkpoint_interval_and_no_other_student(lane, tmp_path):
    updates = (5, 200, 5)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    trainings, failures = lane(undisturbed, updates)
    assert set(failures.values()) == {None}
    first, second, _ = (each.job.spec.key for each in trainings.values())
    died = kill_a_worker_at(Store(killed).work_path(second) / "checkpoints" / "00000020")
    _, failures = lane(killed, updates)
    assert set(failures.values()) == {None}
    assert models(killed) == models(undisturbed)
    published = Store(killed).path(first) / "record.json"
    assert published.stat().st_mtime < died[0], "and was not made again"
    rows = read_history(Store(killed).path(second) / HISTORY)
    kept = max(row["step"] for row in rows if row["time"] <= died[0])
    assert 20 <= kept < 200, "updates before the newest checkpoint were not made again"


@pytest.mark.long
@pytest.mark.ray
@pytest.mark.slow
def test_students_that_fail_leave_the_lane_to_the_others(lane, tmp_path):
    _, failures = lane(tmp_path, (5, 5, 5, 5, 5), diverging={1}, dying={3})
    assert [name for name, why in failures.items() if why is None] == ["seed 0", "seed 2", "seed 4"]
    assert "update 2 with CrossEntropy: the objective is" in str(failures["seed 1"])
    assert str(failures["seed 3"]).startswith("seed 3: ")
    deaths = [path for path in tmp_path.iterdir() if path.name.isdigit()]
    assert 2 <= len(deaths) <= 4, "both workers, once and once more"
    assert len(models(tmp_path)) == 3


@pytest.mark.long
@pytest.mark.ray
@pytest.mark.slow
def test_models_of_different_widths_are_trained_by_lanes_of_different_widths(
    lane, two_cpus, tmp_path
):
    as_fits = two_cpus.model_copy(update={"train_workers": None, "parallel_students": 1})
    trainings, failures = lane(tmp_path, (5, 5, 5), wide={1}, execution=as_fits)
    assert set(failures.values()) == {None}
    models = [Store(tmp_path).path(each.job.spec.key) for each in trainings.values()]
    assert [read_json(model / MACHINE)["workers"] for model in models] == [1, 2, 1]


def scored_together(name, folder, *, fails):
    """A step that ends when both have begun. Its job is sent to workers whole."""

    class Job:
        is_light = False
        key = Key("scores", 1, {"name": name})
        reads = ()

        def make(self, into, fetch, *, threads):
            (folder / name).touch()
            until = time.monotonic() + 120
            while len(list(folder.iterdir())) < 2 and time.monotonic() < until:
                time.sleep(0.01)
            if fails:
                raise StageFailed("the disk is gone")
            (into / "scores.json").write_text("[]")
            return {"threads": threads, "begun": len(list(folder.iterdir()))}

    return Step(Job(), SCORES, name, "Evaluation")


@pytest.mark.ray
@pytest.mark.slow
def test_models_are_scored_side_by_side_and_one_that_fails_leaves_the_other(two_cpus, tmp_path):
    begun, store = tmp_path / "begun", Store(tmp_path / "store")
    begun.mkdir()
    steps = [scored_together(name, begun, fails=name == "bad") for name in ("bad", "good")]
    failures = {step.name: why for step, why in make_each(steps, store=store, threads=1)}
    assert failures["good"] is None
    assert str(failures["bad"]) == "Evaluation, bad: the disk is gone; run the command again"
    assert store.find(steps[0].key) is None
    assert store.find(steps[1].key).counts == {"threads": 1, "begun": 2}
