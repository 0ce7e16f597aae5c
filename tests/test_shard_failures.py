"""Processes that make shards may die: others make what is missing, and not without end."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sharded

from kdray.artifacts import Store
from kdray.cluster import ray_internals
from kdray.cluster.pool import ShardWork, make_shards
from kdray.cluster.session import session
from kdray.config.execution import Execution
from kdray.config.signals import HypothesesConfig
from kdray.errors import StageFailed
from kdray.model import memory
from kdray.teacher.engine import Teacher, Translation
from kdray.teacher.hypotheses import read_translations
from kdray.teacher.quarantine import Careful
from kdray.teacher.shards import ShardPlan
from kdray.teacher.translation import TranslationJob


def dying_job(folder, *, deaths):
    """A job of which the process that makes rows 4 to 6 dies, so often. Sent to workers whole."""

    class Job:
        on_gpu = False

        def builder(self, work, fetch, *, device):
            def build(start, stop, shard):
                died = len(list(Path(folder).glob("died-*")))
                if start == 4 and died < deaths:
                    (Path(folder) / f"died-{died}").touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                return {}

            return build

    return Job()


@pytest.fixture
def make(tmp_path):
    plan = ShardPlan.open(tmp_path / "shards", rows=11, shard_rows=2)
    told = []

    def make(deaths):
        job = dying_job(tmp_path, deaths=deaths)
        work = ShardWork(job, plan, Store(tmp_path), tmp_path, "cpu")
        execution = Execution(start_seconds=280, cpus=2, decode_actors=2, max_failures=2)
        with session(execution):
            made = make_shards([work], execution=execution)
            told.extend(work.plan.rows(index) for _, index, _ in made)
        return plan, told

    return make


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
def test_shards_of_processes_that_died_are_made_by_others(make, tmp_path, monkeypatch, capfd):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    plan, told = make(deaths=2)
    assert plan.missing() == []
    assert sum(told) == 11
    assert len(list(tmp_path.glob("died-*"))) == 2
    assert "constructor arguments in the object store" not in "".join(capfd.readouterr())


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
def test_a_shard_that_always_ends_its_process_is_given_up(make, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(StageFailed, match="1 of 6 shards are missing, first 2"):
        make(deaths=99)
    assert 3 <= len(list(tmp_path.glob("died-*"))) <= 6


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
def test_a_work_that_is_whole_may_go_while_another_goes_on(tmp_path, monkeypatch):
    """As publishing removes it; a process of the other one dies, so its shards are begun again."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    works = []
    for name, deaths in (("first", 0), ("second", 1)):
        folder = tmp_path / name
        folder.mkdir()
        plan = ShardPlan.open(folder / "shards", rows=6, shard_rows=2)
        job = dying_job(folder, deaths=deaths)
        works.append(ShardWork(job, plan, Store(tmp_path), folder, "cpu"))
    told = []
    with session(Execution(start_seconds=280, cpus=2, decode_actors=2, max_failures=2)):
        for number, index, _ in make_shards(
            works, execution=Execution(start_seconds=280, cpus=2, decode_actors=2)
        ):
            told.append((number, index))
            if sum(of == 0 for of, _ in told) == 3 and works[0].plan.folder.exists():
                shutil.rmtree(works[0].plan.folder)
    assert sorted(told) == [(number, index) for number in range(2) for index in range(3)]
    assert works[1].plan.missing() == []
    assert len(list((tmp_path / "second").glob("died-*"))) == 1


def test_a_ray_data_without_these_options_is_left_as_it_is(monkeypatch):
    assert ray_internals.without_restarts() == {"max_restarts": 0}
    monkeypatch.setattr(ray_internals.Dataset, "map_batches", lambda self, fn, *, num_cpus: None)
    assert ray_internals.without_restarts() == {}


def careful_job(folder, *, deadly):
    """A job that translates numbers with care, and whose process dies with one of them."""

    class Build:
        takes_attempts = True

        def __call__(self, start, stop, shard, *, attempt):
            def translate(rows):
                with (Path(folder) / f"log-{start}").open("a") as log:
                    log.write(f"{len(rows)} {memory.tokens_per_batch()}\n")
                if start == 40 and deadly in rows:
                    os.kill(os.getpid(), signal.SIGKILL)
                return [[] for _ in rows]

            careful = Careful(translate, attempt)
            careful.each(range(stop - start), np.full(stop - start, 8))
            (shard / "refused.json").write_text(json.dumps(careful.refused))
            return {"pairs": stop - start}

    class Job:
        on_gpu = False

        def builder(self, work, fetch, *, device):
            return Build()

    return Job()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
def test_a_row_that_ends_every_process_is_found_and_left_out(tmp_path, monkeypatch):
    """With SIGKILL, as the kernel ends a process that has no memory; its neighbours are kept."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    plan = ShardPlan.open(tmp_path / "shards", rows=120, shard_rows=20)
    work = ShardWork(careful_job(tmp_path, deadly=7), plan, Store(tmp_path), tmp_path, "cpu")
    execution = Execution(start_seconds=280, cpus=2, decode_actors=2, decode_tokens=64)
    with session(execution):
        made = list(make_shards([work], execution=execution))
    assert sorted(shard for _, shard, _ in made) == list(range(6))
    refused = [json.loads((plan.path(n) / "refused.json").read_text()) for n in range(6)]
    assert [list(each) for each in refused] == [[], [], ["7"], [], [], []]
    log = [line.split() for line in (tmp_path / "log-40").read_text().splitlines()]
    assert log[0] == ["20", "64"]
    assert log[1] == ["4", "32"]  # half of the tokens in a batch
    assert log[-1][1] == "16"


def dying_teacher(folder, *, deaths):
    """A teacher of text, sent to workers whole; a process that is given line 50 dies, so often."""

    class Dying(Teacher):
        fingerprints = ("dying",)
        positions = vocabulary = None

        def open(self, fetch, *, device, threads, work=None):
            return self

        def translate(self, src, options, refs=None):
            died = len(list(Path(folder).glob("died-*")))
            if "line 50" in src and died < deaths:
                (Path(folder) / f"died-{died}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return [[Translation(line.upper(), -1.0, finished=True)] for line in src]

    return Dying()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
def test_rows_are_those_of_an_undisturbed_run_whoever_dies(tmp_path, monkeypatch):
    """Processes die in mid-decode; other shards are wider, and made by another number of them."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    table = {"pair_id": range(120), "src": [f"line {n}" for n in range(120)], "ref": ["r"] * 120}
    pq.write_table(pa.table(table), corpus / "train.parquet")

    def job(deaths):
        teacher = dying_teacher(tmp_path, deaths=deaths)
        return TranslationJob(teacher, sharded.at(corpus), HypothesesConfig(), sharded.ENCODED)

    sharded.make(job(0), tmp_path / "undisturbed", shard_rows=33)
    work = tmp_path / "work"
    plan = ShardPlan.open(work / "shards", rows=120, shard_rows=20)
    shards = ShardWork(job(2), plan, Store(tmp_path), work, "cpu")
    execution = Execution(start_seconds=280, cpus=2, decode_actors=2)
    with session(execution):
        made = list(make_shards([shards], execution=execution))
    assert sorted(shard for _, shard, _ in made) == list(range(6))
    assert len(list(tmp_path.glob("died-*"))) == 2
    joined = tmp_path / "joined"
    joined.mkdir()
    counts = job(0).join(plan.finished(), plan.counts(), joined, sharded.fetch)
    assert (counts["pairs"], counts["quarantined"]) == (120, 0)
    assert read_translations(joined).equals(read_translations(tmp_path / "undisturbed"))
