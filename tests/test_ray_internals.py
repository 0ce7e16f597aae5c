"""Ray's private interfaces save seconds: without them, or with others, the same comes out."""

import json
import logging
import re
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import ray
from micro_study import CONFIG, run, scores
from ray.train import ControllerError, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from kdray.cluster import ray_internals
from kdray.cluster.address import cluster_address
from kdray.cluster.lane import Lane, make_trainer
from kdray.cluster.ray_internals import LeanTrainer, LocalTrainer, trainer_class
from kdray.cluster.session import Width, session
from kdray.config.execution import Execution
from kdray.storage.queue import Queue

CALLBACKS, CONTROLLER = "_create_default_callbacks", "_initialize_and_run_controller"


@pytest.fixture
def told(caplog):
    """What was said, none of it above the level that nobody reads."""
    with caplog.at_level(logging.DEBUG, logger=ray_internals.__name__):
        yield lambda: [record.getMessage() for record in caplog.records]
    assert {record.levelno for record in caplog.records} <= {logging.DEBUG}


def test_the_installed_ray_is_one_that_we_know(told):
    """A newer one may fail here. Until it is seen to, studies run with plain Ray Train."""
    assert trainer_class(local=True) is LocalTrainer
    assert trainer_class(local=False) is LeanTrainer
    policy = FixedScalingPolicy(ScalingConfig(num_workers=2))
    ray_internals._ask_for_no_nodes(policy)
    policy.after_controller_start(SimpleNamespace(run_id="1"))
    assert policy.make_decision_for_non_running_worker_group().num_workers == 2
    assert told() == []


@pytest.mark.slow
def test_no_other_file_names_what_ray_or_torch_keeps_private():
    private = re.compile(
        r"\b(?:ray|torch)(?:\.\w+)*\._\w+|^\s*from (?:ray|torch)\S* import .*\b_\w"
    )
    files = list(Path(ray_internals.__file__).parents[1].rglob("*.py"))
    assert len(files) > 100
    lines = {(file.name, line) for file in files for line in file.read_text().splitlines()}
    assert {name for name, line in lines if private.search(line)} == {"ray_internals.py"}


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("name", [CALLBACKS, CONTROLLER])
@pytest.mark.parametrize("other", [None, lambda self, run, /: [], ["not a method"]])
def test_trainers_of_another_shape_are_rays_own(told, monkeypatch, name, other, local):
    if other is None:
        monkeypatch.delattr(DataParallelTrainer, name)
    else:
        monkeypatch.setattr(DataParallelTrainer, name, other)
    assert trainer_class(local=local) is TorchTrainer
    assert len(told()) == 1


def test_what_is_no_list_of_callbacks_is_handed_on(told, monkeypatch):
    monkeypatch.setattr(DataParallelTrainer, CALLBACKS, lambda self: None)
    assert LocalTrainer(lambda: None)._create_default_callbacks() is None
    assert len(told()) == 1


@pytest.mark.parametrize(
    "policy",
    [
        SimpleNamespace(),
        SimpleNamespace(after_controller_start=lambda train_run_context: 1),
        SimpleNamespace(after_controller_start=lambda: 1, _maybe_send_resource_request=lambda: 2),
        None,
    ],
)
def test_a_policy_of_another_shape_is_left_as_it_is(told, monkeypatch, policy):
    before = dict(vars(policy)) if policy else {}
    monkeypatch.setattr(DataParallelTrainer, CONTROLLER, lambda self, **arguments: arguments)
    given = {"scaling_policy": policy} if policy else {}
    assert LocalTrainer(lambda: None)._initialize_and_run_controller(**given) == given
    assert (vars(policy) if policy else {}) == before
    assert len(told()) == 1


@pytest.mark.parametrize(
    ("errors", "attempts"),
    [
        ([], ["LocalTrainer"]),
        ([ControllerError(KeyError("1"))], ["LocalTrainer", "TorchTrainer"]),
        ([ControllerError(KeyError(n)) for n in "12"], ["LocalTrainer", "TorchTrainer"]),
        ([WorkerGroupError("no room", {})], ["LocalTrainer"]),
    ],
)
def test_what_rays_controller_fails_of_is_tried_once_more_as_it_is(
    told, monkeypatch, errors, attempts
):
    kinds, left = [], list(errors)

    def fit(trainer):
        kinds.append(type(trainer).__name__)
        if left:
            raise left.pop(0)
        return "result"

    monkeypatch.setattr(DataParallelTrainer, "fit", fit)
    trainer = LocalTrainer(lambda: None)
    if len(errors) < len(attempts):
        assert trainer.fit() == "result"
    else:
        with pytest.raises(type(errors[-1]), match=str(errors[-1])):
            trainer.fit()
    assert kinds == attempts
    assert len(told()) == len(attempts) - 1


def test_processes_that_cannot_be_ended_are_left_alone(told, monkeypatch):
    ended = []

    def dead():
        raise RuntimeError("this process is already dead")

    node = SimpleNamespace(kill_monitor=dead, kill_dashboard=lambda: ended.append("dashboard"))
    monkeypatch.setattr(ray._private.worker, "_global_node", node)
    ray_internals.end_unused_processes()
    assert ended == ["dashboard"]
    monkeypatch.delattr(ray._private.worker, "_global_node")
    ray_internals.end_unused_processes()
    assert len(told()) == 2 + 3


@pytest.mark.parametrize(
    ("value", "address", "kind"),
    [
        (None, None, LocalTrainer),
        ("1", None, LocalTrainer),
        (None, "auto", LeanTrainer),
        ("0", None, TorchTrainer),
        ("0", "auto", TorchTrainer),
    ],
)
def test_a_variable_forbids_ray_internals(monkeypatch, value, address, kind):
    monkeypatch.setenv("RAY_ADDRESS", "")
    monkeypatch.delenv("KDRAY_RAY_INTERNALS", raising=False)
    if value is not None:
        monkeypatch.setenv("KDRAY_RAY_INTERNALS", value)
    execution = Execution(address=address)
    assert cluster_address(execution) == address
    lane = Lane("lane", (), Queue(Path("queue")), 1, None)
    trainer = make_trainer(lane, Width(1, 1), execution, folder=Path("ray"))
    assert type(trainer) is kind


def processes_of_ray():
    """Of those that a local session has no use for, the ones that are up."""
    up = set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            up |= {Path(word).name for word in process.cmdline()[:4]}
    return up & {"log_monitor.py", "monitor.py", "dashboard.py"}


def asked_for_nodes():
    """Whether a run of this session has connected to what asks for nodes."""
    named = ray.util.list_named_actors(all_namespaces=True)
    return any("AutoscalingCoordinator" in each["name"] for each in named)


def weights(kind, folder):
    """What two workers learn together in three updates. -> for each worker."""

    def loop(config):  # pickled by value: workers do not know this file
        import torch
        from ray.train import get_context, report
        from ray.train.torch import prepare_model

        rank = get_context().get_world_rank()
        torch.manual_seed(1)
        model = prepare_model(torch.nn.Linear(3, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            (rank + model(torch.randn(5, 3) * (1 + rank))).square().sum().backward()
            optimizer.step()
        learned = [parameter.tolist() for parameter in model.parameters()]
        (config["folder"] / f"{rank}.json").write_text(json.dumps(learned))
        report({"finished": True})

    folder.mkdir()
    trainer = kind(
        loop,
        train_loop_config={"folder": folder},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(name=folder.name, storage_path=str(folder)),
    )
    trainer.fit()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
def test_workers_learn_the_same_with_ray_internals_and_without(told, tmp_path, monkeypatch):
    """Without them is the second attempt, when what they change makes a run's controller fail."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def refuse(*_):
        raise AssertionError("this controller wants an answer")

    before = []

    def end():
        before.append(processes_of_ray())
        ray_internals.end_unused_processes()

    monkeypatch.setattr("kdray.cluster.session.end_unused_processes", end)
    with session(Execution(cpus=2)):
        assert before == [{"log_monitor.py", "monitor.py", "dashboard.py"}]
        assert processes_of_ray() == set()
        first, second = lean = weights(trainer_class(local=True), tmp_path / "lean")
        assert first == second
        assert not asked_for_nodes()
        assert told() == []
        monkeypatch.setattr(ray_internals, "_nothing", lambda *_: refuse())
        assert weights(trainer_class(local=True), tmp_path / "refused") == lean
        assert len(told()) == 1
        assert asked_for_nodes(), "by the second attempt, which is Ray's own"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_study_without_ray_internals_has_the_same_scores(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setenv("KDRAY_RAY_INTERNALS", "0")
    config = tmp_path / "micro.yaml"
    config.write_text(CONFIG)
    done = run("study", config, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert scores(tmp_path) == scores(undisturbed)
