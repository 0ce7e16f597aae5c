"""How runs are spread over the nodes of a cluster, and what no node could hold."""

import pytest
import ray

from kdray.cluster.pool import actors
from kdray.cluster.session import Width, check_resources, run_width, runs_at_once
from kdray.config.execution import Execution
from kdray.errors import InputError


@pytest.fixture
def cluster(monkeypatch):
    """A cluster of nodes with so many CPUs, as Ray describes it."""

    def of(*cpus, gpus=()):
        nodes = [{"Alive": True, "Resources": {"CPU": float(n)}} for n in cpus]
        for node, number in zip(nodes, gpus, strict=False):
            node["Resources"]["GPU"] = float(number)
        gone = {"Alive": False, "Resources": {"CPU": 64.0}}
        monkeypatch.setattr(ray, "nodes", lambda: [*nodes, {"Alive": True, "Resources": {}}, gone])
        monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": float(sum(cpus))})

    return of


@pytest.mark.parametrize(
    ("nodes", "side_by_side", "tokens", "width"),
    [
        ((2,), 1, 4096, Width(2, 1)),
        ((2,), 2, 4096, Width(1, 1)),
        ((16,), 1, 1536, Width(3, 5)),
        ((8, 8), 1, 1536, Width(3, 4)),  # two workers of five CPUs would not fit one node
        ((3, 3, 2), 2, 512, Width(1, 3)),
        ((1, 1, 1), 1, 512, Width(1, 1)),
    ],
)
def test_workers_fit_the_nodes(cluster, nodes, side_by_side, tokens, width):
    cluster(*nodes)
    execution = Execution(parallel_students=side_by_side)
    assert run_width(execution, runs=side_by_side, tokens_per_update=tokens) == width


def test_workers_of_a_set_width_are_so_many_as_fit(cluster):
    cluster(16, 6)
    execution = Execution(cpus_per_worker=4)
    assert run_width(execution, runs=1, tokens_per_update=4096) == Width(5, 4)


@pytest.mark.parametrize(
    ("address", "gpus", "width", "runs"),
    [
        (None, (), Width(1, 1), 3),
        (None, (), Width(2, 1), 2),
        (None, (), Width(8, 1), 1),  # never started, and not refused here either
        (None, (2,), Width(1, 1), 2),
        ("auto", (), Width(2, 1), 3),  # the cluster may grow
    ],
)
def test_a_local_session_begins_what_it_has_room_for(
    cluster, monkeypatch, address, gpus, width, runs
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    cluster(4, gpus=gpus)
    execution = Execution(address=address, parallel_students=3, use_gpu=bool(gpus))
    assert runs_at_once(execution, width) == runs


@pytest.mark.parametrize(
    ("nodes", "gpus", "width"),
    [
        ((16, 64), (4,), Width(4, 4)),  # the second node has CPUs alone
        ((2,), (4,), Width(2, 1)),
        ((8, 8), (2, 1), Width(3, 4)),
    ],
)
def test_with_gpus_only_nodes_that_have_some_count(cluster, nodes, gpus, width):
    cluster(*nodes, gpus=gpus)
    execution = Execution(use_gpu=True)
    assert run_width(execution, runs=1, tokens_per_update=4096) == width


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_workers": 17}, "train_workers 17 .* the cluster has 16"),
        ({"cpus_per_worker": 9}, "cpus_per_worker 9 are more than the 8 CPUs of the largest node"),
        ({"evaluation_cpus": 9}, "evaluation_cpus 9 are more than the 8 CPUs"),
        ({"use_gpu": True}, "need a GPU each, the cluster has 0"),
    ],
)
def test_what_no_node_could_hold_is_refused(cluster, settings, message):
    cluster(8, 8)
    check_resources(Execution(train_workers=2, cpus_per_worker=8, evaluation_cpus=8))
    with pytest.raises(InputError, match=message):
        check_resources(Execution(**settings))


def test_only_what_runs_on_gpus_is_as_wide_as_they_are_many(monkeypatch):
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 16.0, "GPU": 1.0})
    execution = Execution(use_gpu=True)
    assert (actors(execution, on_gpu=True), actors(execution, on_gpu=False)) == (1, 16)
    assert actors(Execution(decode_actors=3), on_gpu=False) == 3
