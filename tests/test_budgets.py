"""A study over several lengths: its plan, and that it makes what single studies would make."""

import json

import mlflow
import pytest
import torch
import yaml
from micro_study import CONFIG
from safetensors.torch import load_file

from kdray.cluster import lanes
from kdray.cluster.train import train_and_publish
from kdray.command import show_plan
from kdray.config.experiment import Experiment
from kdray.errors import StageFailed
from kdray.fit.history import HISTORY, read_history
from kdray.fit.spec import TeacherLayers
from kdray.fit.worker import Worker
from kdray.model.storage import WEIGHTS
from kdray.pipeline import run_steps
from kdray.plan.experiment import make_plan, trained_updates
from kdray.plan.step import STUDENT, spec_of
from kdray.progress import Display
from kdray.runner.models import model_run
from kdray.runner.results import curves_of
from kdray.runner.study import Study, open_study

SCHEDULE = {"kind": "constant_cooldown", "peak": 0.01, "warmup": 5, "cooldown": 0.3}
PLAIN = {"kind": "cross_entropy", "label_smoothing": 0.1}
SMOOTH = {"kind": "cross_entropy", "label_smoothing": 0.3}
SWITCHED = {"kind": "branch", "trunk": PLAIN, "cooldown": SMOOTH}


def experiment(budgets=(20, 40), *, methods=None, updates=20, storage="runs", **training):
    raw = yaml.safe_load(CONFIG)
    del raw["search"]
    raw["recipe"]["students"]["training"] |= {
        "schedule": SCHEDULE, "checkpoint_every": 5, "updates": updates, **training,
    }  # fmt: skip
    raw["recipe"]["students"]["budgets"] = list(budgets)
    raw["recipe"]["teacher"], raw["recipe"]["signals"] = None, {}
    raw["recipe"]["methods"] = methods or {"plain": PLAIN, "switched": SWITCHED}
    raw["execution"] = {"storage": str(storage), "tracking": {"enabled": False}}
    return Experiment.model_validate(raw)


def trainings(config):
    """The trainings of the students of an experiment, by their names."""
    steps = make_plan(config).of(STUDENT)
    return {step.name.removeprefix("nano/"): spec_of(step) for step in steps}


def students(*args, **kwargs):
    return trainings(experiment(*args, **kwargs))


def test_every_budget_is_a_student_that_leaves_one_trunk():
    found = students((20, 40, 80), methods={"plain": PLAIN})
    assert list(found) == [f"plain/seed-1/updates-{n}" for n in (20, 40, 80)]
    longest = list(found["plain/seed-1/updates-80"].chain())
    assert [m.ends_at for m in longest] == [10, 25, 55, 80], "checkpoints at or before 14, 28, 56"
    assert [m.own_updates for m in longest] == [10, 15, 30, 25]
    for model, updates in zip(found.values(), (20, 40, 80), strict=True):
        assert model.training.updates == model.ends_at == updates
        assert model.trunk is not None
        assert model.trunk.key in [m.key for m in longest]
    assert trained_updates(
        make_plan(experiment((20, 40, 80), methods={"plain": PLAIN})).of(STUDENT)
    ) == (55 + 10 + 15 + 25, 140)


def test_a_branch_by_the_trunks_method_is_the_run_that_is_trained_alone():
    shared = students((20, 40))
    alone = students((), updates=40)
    assert shared["plain/seed-1/updates-40"].key == alone["plain/seed-1"].key
    assert alone["plain/seed-1"].trunk is None
    same = {"kind": "branch", "trunk": PLAIN, "cooldown": PLAIN}
    assert students((20, 40), methods={"a": same})["a/seed-1/updates-40"].key == (
        shared["plain/seed-1/updates-40"].key
    )


@pytest.mark.slow
def test_a_trunk_depends_on_nothing_that_comes_after_it():
    def trunk(*args, **kwargs):
        first = next(iter(students(*args, **kwargs).values()))
        assert first.trunk is not None
        return first.trunk

    one = trunk((20,))
    linear = trunk((20,), schedule={**SCHEDULE, "cooldown": 0.45, "shape": "linear"})
    assert one.ends_at == linear.ends_at == 10
    assert one.key == linear.key == trunk((20, 40, 80)).key
    assert trunk((20,), schedule={**SCHEDULE, "peak": 0.02}).key != one.key
    assert trunk((20,), tokens_per_update=256).key != one.key
    assert trunk((40,), updates=40).key != one.key, "it ends later"


def test_another_method_in_the_cooldown_makes_another_model():
    methods = {"switched": SWITCHED, "plain": PLAIN, "smooth": SMOOTH}
    switched, plain, smooth = students((20,), methods=methods).values()
    assert switched.trunk.key == plain.trunk.key
    assert len({model.key.fingerprint for model in (switched, plain, smooth)}) == 3
    other = {**SWITCHED, "trunk": {**PLAIN, "label_smoothing": 0.2}}
    (changed,) = students((20,), methods={"s": other}).values()
    assert changed.key != switched.key
    without = students((), methods={"switched": SWITCHED})["switched/seed-1"]
    assert without.key == switched.key, "it needs no budgets"


def test_methods_that_follow_the_length_are_trained_alone():
    raw = experiment().model_dump(mode="json")
    recipe = yaml.safe_load(CONFIG)["recipe"]
    raw["recipe"] |= {"teacher": recipe["teacher"], "signals": {"hidden": {}}}
    raw["recipe"]["methods"] = {"taid": {"kind": "taid"}}
    found = make_plan(Experiment.model_validate(raw)).of(STUDENT)
    assert [(step.cell.length, spec_of(step).trunk) for step in found] == [(20, None), (40, None)]
    assert trained_updates(found) == (60, 60)


FROM_TEACHER = {"preset": "nano", "encoder_layers": 1, "decoder_layers": 1,
                "initial": {"kind": "layers"}}  # fmt: skip


def from_teacher(config, *, seed=1):
    """The same experiment, whose students start from a teacher."""
    raw = config.model_dump(mode="json")
    teacher = yaml.safe_load(CONFIG)["recipe"]["teacher"]
    teacher["training"] |= {"updates": 40, "checkpoint_every": 20}
    raw["recipe"]["teacher"] = teacher | {"seed": seed}
    raw["recipe"]["students"]["sizes"] = {"nano": FROM_TEACHER}
    return Experiment.model_validate(raw)


@pytest.mark.slow
def test_trunks_start_from_the_teacher_and_what_leaves_them_does_too():
    shared = trainings(from_teacher(experiment((20, 40))))
    alone = trainings(from_teacher(experiment((), updates=40)))
    other = trainings(from_teacher(experiment((20, 40)), seed=2))
    plain, switched = (shared[f"{name}/seed-1/updates-40"] for name in ("plain", "switched"))
    assert [m.key for m in shared.values() if m.ends_at == 40] == [m.key for m in alone.values()]
    for model in (plain, switched):
        assert isinstance(next(model.chain()).start, TeacherLayers)
    assert all("initial" in m.key.inputs for m in plain.chain())
    assert "initial" not in switched.key.inputs, "its trunk's fingerprint has it"
    for ours, theirs in zip(shared.values(), other.values(), strict=True):
        assert ours.key != theirs.key
        assert ours.trunk.key != theirs.trunk.key
    at_random = students((20, 40))["plain/seed-1/updates-40"]
    assert at_random.trunk.key != plain.trunk.key


@pytest.fixture
def without_ray(monkeypatch):
    """Runs are trained here, one after another. -> those that were, those that shall fail."""
    trained, failing = [], set()

    def train_here(trainings, *, execution, runs, folder, watch):
        for name, training in trainings.items():
            if name in failing:
                yield name, StageFailed(f"{name}: lightning")
                continue
            trained.append(name.removeprefix("nano/"))
            train_and_publish(training.begin(Worker()), Worker(), threads=1)
            yield name, None

    monkeypatch.setattr(lanes, "train", train_here)
    monkeypatch.setattr(Study, "start_ray", lambda study: None)
    return trained, failing


def made(study, name):
    (step,) = [s for s in study.plan.of(STUDENT) if s.name == f"nano/{name}"]
    return study.store.fetch(step.key)


def same_model(one, other):
    ours, theirs = load_file(one / WEIGHTS), load_file(other / WEIGHTS)
    assert ours.keys() == theirs.keys()
    return all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.slow
def test_a_study_of_lengths_makes_what_single_studies_make(tmp_path, without_ray):
    trained, _ = without_ray
    with open_study(experiment(storage=tmp_path / "shared"), Display()) as shared:
        run_steps(shared, "train")
        assert trained == [
            "plain/seed-1/trunk-10",
            "plain/seed-1/updates-20",
            "switched/seed-1/updates-20",
            "plain/seed-1/trunk-25",
            "plain/seed-1/updates-40",
            "switched/seed-1/updates-40",
        ]
        for updates in (20, 40):
            alone = experiment((), updates=updates, storage=tmp_path / "alone",
                               methods={"plain": PLAIN})  # fmt: skip
            with open_study(alone, Display()) as single:
                run_steps(single, "train")
                ours = made(shared, f"plain/seed-1/updates-{updates}")
                theirs = made(single, "plain/seed-1")
                assert ours.name == theirs.name
                assert same_model(ours, theirs)
                steps = [[row["step"] for row in read_history(f / HISTORY)] for f in (ours, theirs)]
                assert steps[0] == steps[1]
                totals = [json.loads((f / "totals.json").read_text()) for f in (ours, theirs)]
                assert [t.pop("shared_updates") for t in totals] == [{20: 10, 40: 25}[updates], 0]
                assert all(t.pop("train_seconds") > 0 for t in totals)
                assert totals[0] == totals[1]
                switched = made(shared, f"switched/seed-1/updates-{updates}")
                assert not same_model(switched, theirs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "training",
    [
        {"averaging": {"kind": "ema", "decay": 0.9}},
        pytest.param({"averaging": {"kind": "swa", "window": 0.3}}, marks=pytest.mark.long),
        pytest.param({"averaging": {"kind": "none"}}, marks=pytest.mark.long),
    ],
)
def test_students_from_the_teacher_with_means_are_made_alike(tmp_path, without_ray, training):
    trained, _ = without_ray
    shared = from_teacher(experiment(storage=tmp_path / "shared", **training))
    single = from_teacher(experiment((), updates=40, storage=tmp_path / "alone", **training))
    folders = []
    for config, end in ((shared, "/updates-40"), (single, "")):
        with open_study(config, Display()) as study:
            run_steps(study, "train")
            folders.append([made(study, f"{n}/seed-1{end}") for n in ("plain", "switched")])
    for ours, theirs in zip(*folders, strict=True):
        assert ours.name == theirs.name
        assert same_model(ours, theirs)
        totals = [json.loads((f / "totals.json").read_text()) for f in (ours, theirs)]
        assert totals[0]["dev"] == totals[1]["dev"]
        assert totals[0]["best"] == totals[1]["best"]
        assert bool(totals[0]["dev"]["averaged"]) == (training["averaging"]["kind"] != "none")
    assert "plain/seed-1/trunk-25" in trained


@pytest.mark.slow
def test_a_new_length_trains_only_what_is_new(tmp_path, without_ray):
    trained, _ = without_ray
    plain = {"methods": {"plain": PLAIN}, "storage": tmp_path}
    with open_study(experiment((20,), **plain), Display()) as study:
        run_steps(study, "train")
    trained.clear()
    with open_study(experiment((20, 40), **plain), Display()) as study:
        states = {step.name: study.is_made(step.key) for step in study.plan.steps}
        assert states["nano/plain/seed-1/trunk-10"]
        assert not states["nano/plain/seed-1/trunk-25"]
        show_plan(study, "train")
        run_steps(study, "train")
        path = made(study, "plain/seed-1/updates-40")
    assert trained == ["plain/seed-1/trunk-25", "plain/seed-1/updates-40"]
    assert [row["step"] for row in read_history(path / HISTORY) if "train/loss" in row] == list(
        range(5, 41, 5)
    )
    trained.clear()
    with open_study(experiment((20, 40), **plain), Display()) as study:
        run_steps(study, "train")
    assert trained == []


@pytest.mark.slow
def test_each_student_is_followed_by_one_run_with_the_whole_curve(tmp_path, without_ray):
    raw = experiment(storage=tmp_path).model_dump(mode="json")
    raw["execution"]["tracking"] = {}
    with open_study(Experiment.model_validate(raw), Display()) as study:
        run_steps(study, "train")
        client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
        experiments = [client.get_experiment_by_name("micro").experiment_id]
        trained = client.search_runs(experiments, "tags.`kdray.role` != 'study'")
        assert [run.info.status for run in trained] == 6 * ["FINISHED"], "before any is scored"
        curves = curves_of(study)
        for step in study.plan.of(STUDENT):
            run_id = model_run(study, step)
            study.runs.tracker.log_history(run_id, curves[step.cell])
            study.runs.tracker.finish(run_id, "FINISHED")
    found = client.search_runs(experiments)
    roles = [run.data.tags["kdray.role"] for run in found]
    assert {role: roles.count(role) for role in roles} == {"study": 1, "trunk": 2, "student": 4}
    assert {run.info.status for run in found} == {"FINISHED"}
    for run in found:
        if run.data.tags["kdray.role"] == "study":
            continue
        length = int(run.info.run_name.split("-")[-1])
        steps = [m.step for m in client.get_metric_history(run.info.run_id, "train/loss")]
        assert steps == list(range(5, length + 1, 5))


@pytest.mark.slow
def test_a_trunk_that_fails_takes_its_own_students_with_it(tmp_path, without_ray):
    trained, failing = without_ray
    failing.add("nano/plain/seed-1/trunk-25")
    with open_study(experiment(storage=tmp_path), Display()) as study:
        run_steps(study, "train")
        assert study.notes == [
            "nano/plain/seed-1/trunk-25: lightning; so there is no "
            "nano/plain/seed-1/updates-40, nano/switched/seed-1/updates-40"
        ]
    assert trained[-2:] == ["plain/seed-1/updates-20", "switched/seed-1/updates-20"]
    failing.clear()
    trained.clear()
    with open_study(experiment(storage=tmp_path), Display()) as study:
        run_steps(study, "train")
    assert trained == [
        "plain/seed-1/trunk-25",
        "plain/seed-1/updates-40",
        "switched/seed-1/updates-40",
    ]
