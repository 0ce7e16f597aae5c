"""Shards that nodes make which have a storage of objects in common, and no folder. Without Ray."""

from dataclasses import replace
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from outside_packages import installed

from kdray.artifacts import Key, Store
from kdray.cluster.pool import ShardActor
from kdray.config.execution import Execution
from kdray.config.signals import HypothesesConfig
from kdray.model import memory
from kdray.plan.step import SIGNALS, Step
from kdray.runner.shards import Decoding, _join, _shard_work
from kdray.teacher.engine import Teacher, Translation
from kdray.teacher.hypotheses import read_translations
from kdray.teacher.shards import ShardPlan
from kdray.teacher.translation import TranslationJob

pytestmark = pytest.mark.slow

ENCODED = Key("encoded", 1, {})


class Lines(Teacher):
    """A teacher that knows text alone, and keeps what it was given."""

    fingerprints = ("lines",)
    positions = vocabulary = None

    def __init__(self):
        self.seen = []

    def open(self, fetch, *, device, threads, work=None):
        return self

    def translate(self, src, options, refs=None):
        self.seen += src
        return [[Translation(line.upper(), -1.0, finished=True)] for line in src]


@pytest.fixture
def nodes(tmp_path):
    """Stores of the driver's node and of another one."""
    with installed():
        yield [
            Store.open(f"toy://{tmp_path}/bucket", cache=str(tmp_path / name))
            for name in ("driver", "other")
        ]


def corpus(store, rows):
    """A published corpus of so many lines. -> its key."""

    def build(folder):
        src = [f"line {row}" for row in range(rows)]
        table = pa.table({"pair_id": range(rows), "src": src, "ref": src})
        pq.write_table(table, folder / "train.parquet")
        return {"pairs": {"train": rows}}

    key = Key("corpus", 1, {"rows": rows})
    store.publish(key, build)
    return key


def translated(driver, maker, rows):
    """Have the shards of a corpus made on a node, and joined by the driver. -> artifact, seen."""
    teacher = Lines()
    job = TranslationJob(teacher, corpus(driver, rows), HypothesesConfig(), ENCODED)
    step = Step(job, SIGNALS, "hypotheses", "Translations")
    study = SimpleNamespace(
        store=driver, experiment=SimpleNamespace(execution=Execution(shard_pairs=8))
    )
    work = _shard_work(study, step, "cpu")
    place = maker.work_path(job.key)
    there = replace(
        work,
        store=maker,
        work=place,
        plan=ShardPlan(place / "shards", work.plan.ranges),
        parts=maker.parts(job.key, place / "shards"),
        budget=None,
    )
    actor = ShardActor([there], None, None, 1)
    for index in range(len(work.plan.ranges)):
        actor({"work": [0], "shard": [index]})
    _join(study, Decoding(step, work))
    return driver.find(job.key), teacher.seen


def test_another_node_takes_earlier_translations_too(nodes, monkeypatch):
    monkeypatch.setattr(memory, "_tokens", memory.START)
    driver, other = nodes
    translated(driver, other, 20)
    grown, seen = translated(driver, other, 30)
    assert grown.counts["reused"] == 20
    assert seen == [f"line {row}" for row in range(20, 30)]
    hyps = read_translations(driver.fetch(grown.key))["hyp"].to_pylist()
    assert hyps == [f"LINE {row}" for row in range(30)]


@pytest.mark.parametrize("shared", [True, False])
def test_a_shard_that_was_damaged_between_two_commands_is_made_anew(nodes, tmp_path, shared):
    store = Store.open(tmp_path / "runs") if shared else nodes[0]
    job = TranslationJob(Lines(), corpus(store, 20), HypothesesConfig(), ENCODED)
    step, said = Step(job, SIGNALS, "hypotheses", "Translations"), []
    study = SimpleNamespace(
        store=store,
        experiment=SimpleNamespace(execution=Execution(shard_pairs=8)),
        display=SimpleNamespace(note=said.append),
    )

    def make():
        work = _shard_work(study, step, "cpu")
        missing = work.plan.missing()
        for index in missing:
            ShardActor([work], None, None, 1)({"work": [0], "shard": [index]})
        return work, missing

    work, missing = make()
    assert (missing, said) == ([0, 1, 2], [])
    table = work.plan.path(1) / "hypotheses.arrow"
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)
    work, missing = make()
    assert missing == ([1] if shared else []), "the storage has kept a whole one"
    (words,) = said
    assert (
        words == f"{table}: its content is not what was written; this part of the work is made anew"
    )
    _join(study, Decoding(step, work))
    hyps = read_translations(store.fetch(job.key))["hyp"].to_pylist()
    assert hyps == [f"LINE {row}" for row in range(20)]
