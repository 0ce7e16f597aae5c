"""Large text is prepared on Ray with the rows, files and counts of one process."""

import pytest
from test_phases import corpus, tables

from kdray.artifacts import Brought, Store
from kdray.cluster.pool import ShardWork, make_shards
from kdray.cluster.session import session
from kdray.config.execution import Execution
from kdray.teacher.shards import ShardPlan
from kdray.text.corpus_building import build_corpus
from kdray.text.jobs import CorpusJob


@pytest.mark.long
@pytest.mark.ray
def test_a_corpus_prepared_on_ray_is_the_one_that_is_prepared_here(tmp_path):
    pairs = [(f"word {n % 700}", f"Wort {n % 700}") for n in range(1500)]
    config = corpus(tmp_path, [pairs, pairs[::-1], [("dev", "a"), ("", "x")]], caps={"s1": 900})
    job, work, store = CorpusJob.of(config), tmp_path / "work", Store.open(tmp_path / "store")
    one, many = tmp_path / "one", tmp_path / "many"
    for folder in (work, one, many):
        folder.mkdir()
    execution = Execution(cpus=2, start_seconds=200)
    with session(execution):
        for phase in job.phases():
            rows = phase.prepare(work, store.fetch, device="cpu")
            plan = ShardPlan.open(work / phase.name, rows=rows, shard_rows=1)
            shards = [ShardWork(phase, plan, store, work, "cpu")]
            assert len(list(make_shards(shards, execution=execution))) == rows
    assert job.join(work, many, Brought) == build_corpus(config, one)
    assert tables(many) == tables(one)
    assert len(tables(one)) == 4
