"""What MLflow is told of the models of a study: names of users stand apart from names of ours."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from kdray.artifacts import Key
from kdray.cell import Cell
from kdray.cluster import lanes
from kdray.condition import Condition
from kdray.fit.history import HISTORY
from kdray.fit.worker import Worker
from kdray.plan.step import STUDENT, Step
from kdray.progress import Display
from kdray.runner import models, results
from kdray.scoring.result import Result, Score
from kdray.tracking import PlannedRun, Tracker

SCORED = Key("scores", 1, {})


def result(split, condition, bleu, **scores):
    values = dict.fromkeys(Result.__dataclass_fields__)
    values |= {"cell": Cell("hybrid", "nano", 1), "split": split, "condition": condition}
    scores = {"bleu": bleu, "chrf": bleu / 2, **scores}
    values["scores"] = {name: Score(value, "") for name, value in scores.items()}
    return Result(**values | {"decode_tokens_per_second": 9.0})


class Remembers(Tracker):
    """What it is told."""

    def __init__(self):
        self.scores, self.opened, self.ended, self.digest = {}, [], [], ""

    def ensure_run(self, name, *, began=None, **_):
        self.opened.append((name, began))
        return name

    def log_scores(self, run_id, scores):
        self.scores = dict(scores)

    def finish(self, run_id, status, *, ended=None, told=None):
        self.ended.append((run_id, status, ended))
        self.digest = told


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study with one model that was trained from second 100 to second 160."""
    rows = [{"step": 1, "time": 100.0}, {"step": 9, "time": 160.0, "dev/bleu": 1.0}]
    (tmp_path / HISTORY).write_text("".join(f"{row}\n".replace("'", '"') for row in rows))
    tracker = Remembers()
    monkeypatch.setattr(results, "tell_data", lambda *_: None)  # there is no corpus

    def ensure(fingerprint, name, tags, params, *, began=None):
        return tracker.ensure_run(name, began=began)

    return SimpleNamespace(
        recipe=SimpleNamespace(evaluation=SimpleNamespace(main_beam=5)),
        runs=SimpleNamespace(tracker=tracker, ensure=ensure, ids={}),
        store=SimpleNamespace(
            fetch=lambda key: tmp_path,
            find=lambda key: SimpleNamespace(counts={"num_params": 3}),
        ),
    )


@pytest.mark.parametrize("name", ["dev", "dev_final", "train", "system", "test", "num_params"])
def test_a_test_of_any_name_has_a_curve_of_its_own(study, toy_step, name):
    one, five, half = Condition.of_beam(1), Condition.of_beam(5), Condition.of_prefix(0.5)
    rows = [result("dev", one, 11), result("dev", five, 15, comet=0.5)]
    rows += [result(f"test-{name}", *each) for each in ((one, 21), (five, 25), (half, 30))]
    results._track(study, toy_step, rows, {}, scored=SCORED)
    scores = study.runs.tracker.scores
    assert scores[f"test/{name}/bleu"] == 25
    assert scores[f"test/{name}/bleu_beam-1"] == 21
    assert scores[f"test/{name}/bleu_prefix-0.5"] == 30
    assert (scores["dev_final/bleu"], scores["dev_final/comet"]) == (15, 0.5)
    assert scores["num_params"] == 3
    assert not any(metric.startswith(("dev/", "train/", "system/")) for metric in scores)


def test_a_model_of_another_study_has_the_time_of_its_training(study, toy_step):
    results._track(study, toy_step, [result("dev", Condition.of_beam(5), 15.0)], {}, scored=SCORED)
    assert study.runs.tracker.opened == [("nano/hybrid/seed-1", 100.0)]
    assert study.runs.tracker.ended == [("nano/hybrid/seed-1", "FINISHED", 160.0)]


def test_a_run_that_was_told_all_is_left_alone_until_there_is_more(study, toy_step, monkeypatch):
    tracker, name = study.runs.tracker, "nano/hybrid/seed-1"
    study.runs.ids[toy_step.key.fingerprint] = name
    told = {}

    def track(bleu, scored=SCORED):
        """Whether the run is told anything, by a command that knows what others told it."""
        before = len(tracker.opened)
        rows = [result("dev", Condition.of_beam(5), bleu)]
        results._track(study, toy_step, rows, dict(told), scored=scored)
        told[name] = tracker.digest
        return len(tracker.opened) > before

    assert track(15.0)
    assert not track(15.0)
    assert track(16.0), "another score"
    assert not track(16.0)
    assert track(16.0, scored=replace(SCORED, version=2)), "other translations"
    (study.store.fetch(None) / HISTORY).write_text('{"step": 9, "time": 160.0}\n')
    assert track(16.0), "another curve"
    told.clear()
    assert track(16.0), "its run is gone"


@pytest.fixture
def toy_step(toy_job):
    cell = Cell("hybrid", "nano", 1)
    return Step(toy_job.spec, STUDENT, str(cell), "Students", cell=cell)


def test_a_run_begins_when_its_training_does(study, toy_step, monkeypatch, tmp_path):
    """Not when it is planned: the second one of two begins when the first one is over."""
    opened = study.runs.tracker.opened
    order = []

    def train(trainings, **_):
        for name, training in trainings.items():
            order.append(len(opened))
            assert training.begin(Worker(1, 2)).run_id == "", "the first worker does it"
            assert training.begin(Worker(0, 2)).run_id == name
            yield name, None

    monkeypatch.setattr(lanes, "train", train)
    monkeypatch.setattr(models, "_forms_read", lambda study: [])
    monkeypatch.setattr(models._Watch, "ended", lambda *_: None)
    study.display, study.start_ray, study.work = Display(), lambda: None, tmp_path
    study.runs.planned = lambda fingerprint, name, tags, params: PlannedRun(
        study.runs.tracker, name, "study", None, tags, params
    )
    study.is_made, study.is_lost = lambda key: True, lambda step: False
    study.store.work_path, study.store.mirror = lambda key: tmp_path, lambda key: None
    scenario = SimpleNamespace(of=lambda stage: [])
    study.plan = SimpleNamespace(of=lambda stage: [toy_step], scenarios=[scenario], steps=[])
    study.experiment = SimpleNamespace(execution=None)
    models.train_models(study, [replace(toy_step, name=n) for n in ("first", "second")])
    assert order == [0, 1]
    assert opened == [("first", None), ("second", None)]
