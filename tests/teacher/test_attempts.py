"""Deaths are laid to the rows that were in hand; memory that runs out halves the batch."""

import json

import pytest
import torch
from outside_packages import installed

from kdray.errors import StageFailed
from kdray.model import memory
from kdray.storage.parts import Parts
from kdray.teacher.attempts import Attempt, attempt_at, lay_death
from kdray.teacher.budget import Budget
from kdray.teacher.making import BatchSize, make_shard
from kdray.teacher.quarantine import DEADLY, Careful
from kdray.teacher.shards import ShardPlan
from kdray.text.batching import Rows


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch):
    monkeypatch.setattr(memory, "_tokens", 1024)


@pytest.fixture
def plan(tmp_path) -> ShardPlan:
    return ShardPlan.open(tmp_path / "shards", rows=40, shard_rows=20)


class Died(BaseException):
    """As a signal that ends a process: nothing in it can catch this."""


def lengths(rows=20) -> Rows:
    return torch.full((rows,), 8).numpy()


def careful_build(deadly, log):
    """Rows are numbers; a process that translates the deadly one dies."""

    def build(start, stop, folder, *, attempt):
        def translate(rows):
            log.append((len(rows), memory.tokens_per_batch()))
            if deadly in rows and start == 0:
                raise Died
            return [[] for _ in rows]

        careful = Careful(translate, attempt)
        careful.each(range(20), lengths())
        (folder / "rows").write_text(json.dumps(careful.refused))
        return {"pairs": 20}

    build.takes_attempts = True
    return build


def test_a_row_that_ends_its_process_three_times_is_left_out(plan):
    log, size = [], BatchSize(None, None, 1e12, "cpu")
    build = careful_build(7, log)
    for worker in "abc":
        with pytest.raises(Died):
            make_shard(plan, 0, build, size, worker=worker)
        lay_death(plan.folder, "another")
        lay_death(plan.folder, worker)
    make_shard(plan, 0, build, size, worker="d")
    assert json.loads((plan.path(0) / "rows").read_text()) == {"7": DEADLY}
    deaths = attempt_at(plan.path(0), "d").deaths
    assert deaths[0] == tuple(range(20))
    assert 7 in deaths[1]
    assert len(deaths[1]) < 20 or len(lengths()) * 8 <= 512
    assert deaths[2] == (7,)
    assert log[0] == (20, 1024)
    assert log[1][1] == 512
    make_shard(plan, 1, build, size, worker="d")
    assert json.loads((plan.path(1) / "rows").read_text()) == {}
    assert plan.missing() == []


@pytest.mark.slow
def test_a_row_that_ends_processes_of_other_nodes_is_left_out(tmp_path):
    """Nodes have a storage of objects in common, and each a folder of its own."""
    kept = f"toy://{tmp_path}/bucket", "work/hypotheses/x/parts"
    driver, *nodes = (Parts(*kept, tmp_path / name / "shards") for name in ("driver", "a", "b"))
    plans = [ShardPlan.open(node.folder, rows=40, shard_rows=20) for node in nodes]
    size, build = BatchSize(None, None, 1e12, "cpu"), careful_build(7, [])

    def make_on(number, index=0):
        make_shard(plans[number], index, build, size, worker=f"w{number}", parts=nodes[number])

    with installed():
        make_on(1, index=1)
        for number in (0, 1, 0):
            with pytest.raises(Died):
                make_on(number)
            lay_death(driver.folder, f"w{number}", driver)
        make_on(1)
        assert [name for name in driver.file_names() if "in-hand" in name] == []
    assert json.loads((plans[1].path(0) / "rows").read_text()) == {"7": DEADLY}
    assert json.loads((plans[1].path(1) / "rows").read_text()) == {}


def test_a_row_that_ends_its_process_leaves_other_shards_as_wide_as_they_were(plan, tmp_path):
    file, log = tmp_path / "budget.json", []

    def size():
        return BatchSize(None, Budget.load(file), 1e12, "cpu")

    before, build = size().tokens(), careful_build(7, log)
    for worker in "abc":
        with pytest.raises(Died):
            make_shard(plan, 0, build, size(), worker=worker)
        lay_death(plan.folder, worker)
    make_shard(plan, 0, build, size(), worker="d")
    assert Budget.load(file).tokens == before
    assert [tokens for _, tokens in log[:2]] == [1024, 512]
    make_shard(plan, 1, build, size(), worker="d")
    assert log[-1][1] == 1024


def test_processes_that_die_together_of_memory_halve_the_batches_once(plan, tmp_path):
    """Each of their shards is made when batches are smaller; that no row was the reason is known
    then."""
    file = tmp_path / "budget.json"
    for index in range(2):
        attempt_at(plan.path(index), "ab"[index]).hold(range(20))
    lay_death(plan.folder, None)
    for index in range(2):
        size = BatchSize(None, Budget.load(file), 1e12, "cpu")
        make_shard(plan, index, careful_build(None, []), size, worker="c")
    assert Budget.load(file).most == 512


def test_nobody_is_blamed_for_a_machine_without_memory(plan):
    attempt_at(plan.path(0), "a").hold([1, 2])
    attempt_at(plan.path(1), "b").hold([3])
    lay_death(plan.folder, None)
    for index in range(2):
        assert attempt_at(plan.path(index), "c").deaths == ((),)


def test_rows_in_hand_of_who_ended_in_order_are_nobody_s(plan):
    attempt = attempt_at(plan.path(0), "a")
    attempt.hold([1])
    attempt.end()
    lay_death(plan.folder, "a")
    assert attempt_at(plan.path(0), "b").deaths == ()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA failed with error out of memory"),
        RuntimeError("std::bad_alloc"),
        MemoryError(),
    ],
)
def test_memory_that_runs_out_halves_the_batch_and_is_remembered(plan, tmp_path, error):
    """As a GPU says it, and what translates or reads."""
    file, seen = tmp_path / "budget.json", []

    def build(start, stop, folder):
        seen.append(memory.tokens_per_batch())
        if memory.tokens_per_batch() > 300:
            raise error
        return {"tokens": 1000}

    for index in range(2):
        size = BatchSize(None, Budget.load(file), 1e12, "cpu")
        make_shard(plan, index, build, size, worker="a")
    assert seen == [1024, 512, 256, 256]
    assert plan.missing() == []
    assert Budget.load(file).most == 256


def test_other_errors_are_no_reason_to_try_again(plan):
    def build(start, stop, folder):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        make_shard(plan, 0, build, BatchSize(None, None, 1e12, "cpu"), worker="a")
    assert memory.tokens_per_batch() == 1024


def test_within_a_shard_only_what_did_not_fit_is_done_again():
    seen = []

    def translate(rows):
        seen.append((len(rows), memory.tokens_per_batch()))
        if memory.tokens_per_batch() > 600:
            raise MemoryError
        return [[] for _ in rows]

    Careful(translate, Attempt()).each(range(20), lengths())
    assert seen == [(20, 1024), (20, 512)]


def test_a_row_for_which_there_is_never_memory_is_refused():
    def translate(rows):
        if 3 in rows:
            raise MemoryError("no")
        return [[] for _ in rows]

    careful = Careful(translate, Attempt())
    assert len(careful.each(range(20), lengths())) == 20
    assert careful.refused == {3: "no"}


def test_what_a_teacher_itself_refuses_is_said_at_once():
    def translate(rows):
        raise StageFailed("told")

    with pytest.raises(StageFailed, match="told"):
        Careful(translate, Attempt()).each(range(20), lengths())


def climbed(tmp_path, speed, *, room=lambda tokens: 100.0, shards=12):
    """The budgets of shards, one after another, on a machine that is so fast."""
    file, tried = tmp_path / "b.json", []
    for _ in range(shards):
        budget = Budget.load(file)
        tried.append(budget.tokens)
        budget.learn(tried[-1], speed(tried[-1]), room=room(tried[-1]))
    return tried


def test_the_budget_grows_as_long_as_that_is_faster(tmp_path):
    tried = climbed(tmp_path, lambda tokens: min(tokens, 5000) ** 0.5)
    assert tried[:4] == [1024, 2048, 4096, 8192]
    assert set(tried[5:]) == {4096} or set(tried[6:]) == {8192}


def test_the_budget_shrinks_where_small_batches_are_faster(tmp_path):
    tried = climbed(tmp_path, lambda tokens: 1e6 / tokens)
    assert tried[:3] == [1024, 2048, 512]
    assert tried[-1] == memory.LEAST or tried[-1] < 512


def test_the_budget_never_needs_more_memory_than_there_may_be(tmp_path):
    tried = climbed(tmp_path, float, room=lambda tokens: 5000 / tokens)
    assert max(tried) == 4096
    assert tried[-1] == 4096


def test_what_is_found_is_found_again_and_a_damaged_file_is_none(tmp_path):
    budget = Budget.load(tmp_path / "b.json")
    budget.learn(1024, 10.0, room=9.0)
    assert Budget.load(tmp_path / "b.json").speeds == {1024: 10.0}
    (tmp_path / "b.json").write_text("{")
    assert Budget.load(tmp_path / "b.json").tokens == memory.START
