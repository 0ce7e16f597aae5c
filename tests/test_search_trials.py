"""What trials are, which spaces are refused before anything is made, and how a trial ends."""

import json
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml
from micro_study import CONFIG

from kdray import tracking
from kdray.artifacts import LEASES, Store
from kdray.cell import Cell
from kdray.cluster import one_trial, train, trials
from kdray.config import space as spaces
from kdray.config.experiment import Experiment
from kdray.config.initial import Layers
from kdray.config.search import SearchConfig
from kdray.config.training import TrainingConfig
from kdray.config.trunks import of_length
from kdray.errors import ConfigError, LeaseLost, StageFailed, TrainingDiverged
from kdray.fit.history import HISTORY, read_history
from kdray.fit.job import TrainingJob
from kdray.fit.spec import AfterStage, Random
from kdray.plan.step import STUDENT, TEACHER, TRIAL, Step, spec_of
from kdray.progress import Display
from kdray.runner import search_space
from kdray.runner.study import open_study
from kdray.statistics.trials import TrialResult
from kdray.teacher.own import OwnModels

pytestmark = pytest.mark.slow

VALUES = {"gate.initial": 0.3, "gate.stabiliser.strength": 0.1}


def micro(storage, *, space=None, search=None, **recipe):
    """The micro study with a changed recipe, and another space over its method `searched`."""
    raw = yaml.safe_load(CONFIG)
    raw["recipe"] |= recipe
    raw["execution"] = {"storage": str(storage), "tracking": {"enabled": False}}
    if space is not None:
        raw["search"] = {"methods": "searched", "space": space, **(search or {})}
    return Experiment.model_validate(raw)


@pytest.fixture
def trial_of(tmp_path):
    """Prepare the search of the micro study with a changed recipe. -> the study and one trial."""

    def prepare(**recipe):
        with open_study(micro(tmp_path, **recipe), Display()) as study:
            return study, search_space.check_search(study).candidates.step(VALUES)

    return prepare


def test_a_trial_does_not_go_on_from_a_stage_of_the_first_method(trial_of):
    stage = {"method": {"kind": "cross_entropy"}, "updates": 10}
    methods = {
        "staged": {"kind": "stages", "stages": [stage, stage]},
        "hybrid": {"kind": "hybrid", "gate": {"kind": "sentence"}},
    }
    study, trial = trial_of(methods=methods)
    (staged,) = (step for step in study.plan.of(STUDENT) if step.cell.method == "staged")
    assert isinstance(spec_of(staged).start, AfterStage)
    spec = spec_of(trial)
    assert spec.start == Random()
    assert spec.method.gate.initial == 0.3
    assert spec.training == of_length(study.recipe.students.training, 30)


def test_a_trial_starts_from_the_teacher_where_its_size_does(trial_of):
    students = yaml.safe_load(CONFIG)["recipe"]["students"]
    narrow = {"preset": "nano", "width": 24, "initial": {"kind": "prune"}}
    students["sizes"] = {"narrow": narrow, "nano": {"preset": "nano"}}
    study, trial = trial_of(students=students)
    (teacher,) = study.plan.of(TEACHER)
    spec = spec_of(trial)
    assert spec.start.teacher == OwnModels((teacher.key,))
    assert spec.start.layers == Layers((0,), (0,))
    assert trial.key.inputs["initial"] == teacher.key.fingerprint
    assert spec.model.width == 24


def choice(*values):
    return {"kind": "choice", "values": values}


def between(low, high):
    return {"kind": "uniform", "low": low, "high": high}


def check(storage, method, space, *, others=(), search=None, **recipe):
    """Check the search of a method. -> what is found."""
    methods = {"searched": method, **{f"other{i}": other for i, other in enumerate(others)}}
    experiment = micro(storage, space=space, search=search, methods=methods, **recipe)
    with open_study(experiment, Display(), searches=True) as study:
        return search_space.check_search(study)


BEAMS = {"hypotheses": {"beam": 4, "num_hyps": 4}, "topk": {"k": 4, "temperatures": [1.0, 2.0]},
         "sampled": {}}  # fmt: skip
UNMADE = [
    ({"kind": "interpolation", "n": 1}, "n", 2, "from 2 hypotheses"),
    ({"kind": "multi_hypothesis", "n": 1, "candidates": 2}, "candidates", 4, "from 4 hypotheses"),
    ({"kind": "token_level", "prefix": "reference"}, "prefix", "hypothesis",
     "hypotheses and topk on hypothesis"),
    ({"kind": "token_level", "signal": "topk"}, "signal", "sampled", "sampled on reference"),
    ({"kind": "hybrid", "layout": "two_pass"}, "layout", "one_pass", "topk on hypothesis"),
    ({"kind": "cross_entropy"}, "kind", "sentence_level", "reads hypotheses"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "value", "what"), UNMADE)
def test_a_value_whose_signals_are_not_made_is_refused(tmp_path, method, path, value, what):
    space = {path: choice(method[path], value, method[path])}  # neither the first nor the last
    with pytest.raises(ConfigError) as refused:
        check(tmp_path, method, space, signals=BEAMS)
    for words in (f"{{'{path}': {value!r}}}", what, "search.decode_for", "add a method with"):
        assert words in str(refused.value)
    check(tmp_path, method, space, others=[{**method, path: value}], signals=BEAMS)


def test_a_temperature_that_moves_to_another_signal_is_refused(tmp_path):
    signals = BEAMS | {"topk": {"k": 4, "temperatures": [2.0]}}
    method = {"kind": "token_level", "temperature": 2.0}
    with pytest.raises(ConfigError, match=r"'temperature': 1\.0.*sampled on reference"):
        check(tmp_path, method, {"temperature": choice(1.0, 2.0)}, signals=signals)


def test_combinations_of_choices_are_looked_at(tmp_path):
    method = {"kind": "multi_hypothesis", "n": 1, "candidates": 2}
    space = {"n": choice(1, 2), "candidates": choice(2, 4)}
    made = [{"kind": "multi_hypothesis", "n": n, "candidates": c} for n, c in ((2, 2), (2, 4))]
    with pytest.raises(ConfigError, match="'n': 1, 'candidates': 4"):
        check(tmp_path, method, space, others=made, signals=BEAMS)


def test_in_a_large_space_each_choice_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(spaces, "MOST_POINTS", 5)
    space = {"alpha": choice(0.1, 0.2), "prefix": choice("reference", "hypothesis", "reference")}
    with pytest.raises(ConfigError, match="'prefix': 'hypothesis'"):
        check(tmp_path, {"kind": "token_level"}, space)


@pytest.mark.parametrize(
    ("method", "space", "message"),
    [
        ({"kind": "multi_hypothesis", "n": 1, "candidates": 1}, {"n": between(1, 2)}, "'n': 1.6"),
        ({"kind": "interpolation", "n": 1}, {"n": between(1, 2)}, "take kind integer"),
        ({"kind": "token_level"}, {"temperature": between(1, 2)}, "any number of the range"),
    ],
)
def test_a_range_whose_inside_is_refused_is_refused(tmp_path, method, space, message):
    made = [{"kind": "interpolation", "n": 2}]
    signals = BEAMS | {"sampled": None}
    with pytest.raises(ConfigError, match=message):
        check(tmp_path, method, space, others=made, signals=signals)


@pytest.mark.parametrize("path", ["alpha.low", "alpha.low.x", "prefix.ref", "alpa", "a.b.c", ""])
def test_a_path_that_leads_nowhere_is_refused(tmp_path, path):
    with pytest.raises(ConfigError, match=rf"search\.space\.{path}: "):
        check(tmp_path, {"kind": "token_level"}, {path: choice(0.1)})


def test_looking_at_a_space_leaves_it_as_it_is(tmp_path):
    kinds = ("scalar", "sentence")
    gates = choice(*({"kind": kind, "initial": 0.5} for kind in kinds))
    space = {"gate": gates, "gate.initial": between(0.2, 0.8)}
    found = check(tmp_path, {"kind": "hybrid"}, space).config.model_dump()["space"]["gate"][
        "values"
    ]
    assert found == tuple({"kind": kind, "initial": 0.5} for kind in kinds)


HYBRID = {"kind": "hybrid", "gate": {"kind": "sentence", "initial": 0.4}}


def test_another_kind_takes_nothing_over_and_the_same_kind_everything(tmp_path):
    space = {
        "gate.kind": choice("sentence", "entropy", "fixed"),
        "gate.initial": {**between(0.2, 0.8), "when": {"gate.kind": "sentence"}},
        "gate.threshold": {**between(0.1, 0.5), "when": {"gate.kind": "entropy"}},
    }
    plan = check(tmp_path, HYBRID, space).candidates.recipe
    entropy = plan({"gate.kind": "entropy", "gate.threshold": 0.3}).methods["searched"].gate
    assert entropy.model_dump() == {
        "kind": "entropy", "threshold": 0.3, "width": 0.0, "high": "token", "per": "sentence",
    }  # fmt: skip
    assert plan({"gate.kind": "sentence"}).methods["searched"].gate.initial == 0.4
    scalar = plan({"gate.kind": "scalar", "gate.stabiliser.strength": 3.0})
    assert scalar.methods["searched"].gate.stabiliser.strength == 3, "of its default stabiliser"
    assert plan({}).methods["searched"] == plan({"gate.kind": "sentence"}).methods["searched"]


def test_values_of_the_base_are_the_student_of_the_study(tmp_path):
    space = {
        "gate.initial": choice(0.4, 0.5),
        "training.schedule.peak": choice(0.01, 0.02),
        "student.preset": choice("nano", "tiny"),
    }
    experiment = micro(tmp_path, space=space, methods={"searched": HYBRID})
    with open_study(experiment, Display()) as study:
        candidates = search_space.check_search(study).candidates
        (student,) = study.plan.of(STUDENT)
    base = {"gate.initial": 0.4, "training.schedule.peak": 0.01, "student.preset": "nano"}
    assert candidates.step(base).key == student.key
    assert candidates.step({}).key == student.key
    tiny = spec_of(candidates.step({**base, "student.preset": "tiny"})).model
    assert (tiny.preset, tiny.width) == ("tiny", 64)
    others = [candidates.step({**base, path: each["values"][1]}) for path, each in space.items()]
    assert len({each.key.fingerprint for each in (student, *others)}) == 4


def test_a_field_that_one_of_the_methods_lacks_asks_for_the_other(tmp_path):
    several = {"search": {"methods": ["searched", "other0"]}, "others": [{"kind": "token_level"}]}
    space = {"gate.initial": between(0.2, 0.8)}
    with pytest.raises(ConfigError, match=r"gate: no such key.*asks with `when` for a method"):
        check(tmp_path, HYBRID, space, **several)
    space = {"gate.initial": {**between(0.2, 0.8), "when": {"method": "searched"}}}
    candidates = check(tmp_path, HYBRID, space, **several).candidates
    kinds = {
        spec_of(candidates.step(values)).method.kind
        for values in ({"method": "searched", "gate.initial": 0.5}, {"method": "other0"})
    }
    assert kinds == {"hybrid", "token_level"}


@pytest.mark.parametrize("path", ["training.budgets", "student.widths", "corpus.seed", "training"])
def test_a_path_that_is_not_the_students_is_refused(tmp_path, path):
    with pytest.raises(ConfigError, match=rf"search\.space\.{path}"):
        check(tmp_path, {"kind": "token_level"}, {path: choice(3)})


def test_signals_are_made_for_a_choice_that_is_named(tmp_path):
    space = {"layout": choice("two_pass", "one_pass")}
    method = {"kind": "hybrid"}
    with pytest.raises(ConfigError, match=r"name the path of such a choice in `search.decode_for`"):
        check(tmp_path, method, space, signals=BEAMS)
    named = {"decode_for": ["layout"]}
    check(tmp_path, method, space, signals=BEAMS, search=named)
    experiment = micro(
        tmp_path, space=space, search=named, methods={"searched": method}, signals=BEAMS
    )
    with open_study(experiment, Display(), searches=True) as study:
        _, note = search_space.search_notes(study, search_space.check_search(study))
    assert "topk on hypothesis (all training pairs)" in note
    with open_study(experiment, Display()) as study:
        assert all(step.name != "topk on hypothesis" for step in study.plan.steps)


def test_a_budget_that_ends_before_the_first_validation_is_refused(tmp_path):
    space = {"gate.initial": between(0.2, 0.8)}
    with pytest.raises(ConfigError, match=r"at update 10 with 10240 target tokens"):
        check(tmp_path, HYBRID, space, search={"target_tokens": 10_000})
    check(tmp_path, HYBRID, space, search={"target_tokens": 10_240})


def stored(folder, task, *trials):
    """The `search.json` of a search with these trials: values, score, whether stopped."""
    results = [
        TrialResult(values, score, 30, "", scores={"dev/loss": score}, is_stopped=is_stopped)
        for values, score, is_stopped in trials
    ]
    file = folder / "earlier.json"
    trials = [each.to_json() for each in results]
    file.write_text(json.dumps({"task": task, "trials": trials}), encoding="utf-8")
    return {"earlier": {"file": str(file)}, "objectives": "dev/loss"}


def test_an_earlier_search_tells_its_finished_trials_that_lie_in_the_space(tmp_path):
    space = {"gate.initial": between(0.2, 0.8)}
    task = json.loads(json.dumps(check(tmp_path, HYBRID, space).task))
    trials = [({"gate.initial": 0.3}, 2.0, False), ({"gate.initial": 0.4}, 1.0, True),
              ({"gate.initial": 0.9}, 1.0, False), ({}, 1.0, False)]  # fmt: skip
    search = stored(tmp_path, task, *trials)
    found = check(tmp_path, HYBRID, space, search=search)
    assert found.earlier == [({"gate.initial": 0.3}, {"dev/loss": 2.0})]
    with pytest.raises(ConfigError, match="none of its 1 trials is finished"):
        check(tmp_path, HYBRID, space, search=stored(tmp_path, task, trials[1]))
    for part in ("corpus", "training", "model"):
        search = stored(tmp_path, task | {part: "other"}, trials[0])
        with pytest.raises(ConfigError, match=f"another {part}, so its scores do not compare"):
            check(tmp_path, HYBRID, space, search=search)
    tasks = [5, {}, task | {"searched": 5}]
    contents = [{}, [], {"trials": 3, "task": task}, *({"trials": [], "task": t} for t in tasks)]
    for content in contents:
        (tmp_path / "earlier.json").write_text(json.dumps(content))
        with pytest.raises(ConfigError, match=r"is no search\.json"):
            check(tmp_path, HYBRID, space, search=search)


class Tracker(tracking.Tracker):
    """Remembers which runs began and how they ended."""

    def __init__(self):
        self.begun, self.ended = [], []

    def ensure_run(self, name, **_):
        self.begun.append(name)
        return f"run {len(self.begun)}"

    def finish(self, run_id, status, **_):
        self.ended.append((run_id, status))


class Scene:
    """One student of 12 updates as a trial, and a Tune that hears its reports."""

    def __init__(self, job, store, monkeypatch, tracker):
        self.store, self.tracker = store, tracker
        self.key = job.spec.key
        step = self.step = Step(job.spec, TRIAL, "trial", "", cell=Cell("plain", "nano", 1))
        config = Experiment.model_validate(yaml.safe_load(CONFIG)).search
        self.trial = one_trial.Trial(
            config=config, step_of=lambda values: step, store=store,
            tracker=tracker, parent_run="",
        )  # fmt: skip
        self.heard, self.on_report = [], lambda report: None
        self.search = "search-1"
        monkeypatch.setattr(one_trial.tune, "report", self.report)

    def report(self, report):
        self.heard.append((threading.current_thread().name, report))
        self.on_report(report)

    def history(self):
        return self.store.find(self.key).path / HISTORY

    def training(self):
        return TrainingJob(spec_of(self.step), self.store.work_path(self.key), self.store.fetch)

    def run(self):
        one_trial.run_trial({}, self.trial, search=self.search, threads=1, device="cpu")

    def stop_at(self, step):
        """Do what Tune does: `tune.report` leaves by a SystemExit in the trial's thread."""

        def report(heard):
            if heard["step"] == step:
                raise SystemExit(0)

        self.on_report = report

    def steps(self, thread="MainThread"):
        return [report["step"] for name, report in self.heard if name == thread]


@pytest.fixture
def scene(toy_job, changed_job, tmp_path, monkeypatch):
    """Make a scene, with other values of its training."""

    def make(**training):
        store = Store.open(tmp_path / "store")
        training = {
            "updates": 12, "tokens_per_update": 256, "checkpoint_every": 4, "validate_every": 4,
            "schedule": {"kind": "cosine", "peak": 0.01, "warmup": 2},
            "averaging": {"kind": "none"}, **training,
        }  # fmt: skip
        job = changed_job(toy_job, training=TrainingConfig.model_validate(training))
        return Scene(job, store, monkeypatch, Tracker())

    return make


def test_a_trial_reports_each_validation_once(scene):
    here = scene()
    here.run()
    assert here.steps() == [4, 8, 12]
    assert [report["run"] for _, report in here.heard] == ["run 1", "run 1", ""]
    assert here.tracker.ended == [("run 1", "FINISHED")]
    here.run()
    assert here.steps() == [4, 8, 12] * 2
    assert len(here.tracker.begun) == 1


def test_a_trial_tells_all_objectives_and_what_it_has_used(scene):
    here = scene()
    search = here.trial.config.model_dump() | {"objectives": ["dev/loss", "parameters", "latency"]}
    here.trial = replace(here.trial, config=SearchConfig.model_validate(search))
    here.run()
    reports = [report for _, report in here.heard]
    losses = [report["objective_0"] for report in reports]
    assert losses == [row["dev/loss"] for row in read_history(here.history()) if "dev/loss" in row]
    artifact = here.store.find(here.key)
    assert {report["objective_1"] for report in reports} == {artifact.counts["num_params"]}
    assert [report["tokens"] for report in reports] == [256 * step for step in (4, 8, 12)]
    seconds = [report["seconds"] for report in reports]
    assert 0 < seconds[0] < seconds[1] < seconds[2]
    here.run()
    again = [report for _, report in here.heard[3:]]
    assert [{**a, "run": ""} for a in again] == [{**r, "run": ""} for r in reports], "latency too"


def test_a_trial_with_patience_tells_the_best_so_far(scene, monkeypatch):
    here = scene(early_stopping={"metric": "loss", "patience": 3})
    rows = [{"step": step, "dev/loss": loss} for step, loss in ((4, 2.0), (8, 3.0), (12, 1.0))]
    reports = one_trial._Reports(here.trial, here.step, here.training())
    for row in rows:
        reports.hand_on(row)
    assert [report["objective_0"] for _, report in here.heard] == [2.0, 2.0, 1.0]


def test_a_trial_that_is_stopped_at_its_last_report_leaves_its_student(scene):
    here = scene()
    here.stop_at(12)
    with pytest.raises(SystemExit):
        here.run()
    assert here.store.find(here.key) is not None
    assert here.tracker.ended == [("run 1", "FINISHED")]


def test_one_that_would_fail_again_is_not_trained_again_in_the_same_search(scene, monkeypatch):
    here, trained = scene(), []

    def diverge(*_, **__):
        trained.append(here.search)
        raise TrainingDiverged("update 3: the loss is nan")

    monkeypatch.setattr(one_trial, "train_and_publish", diverge)
    with pytest.raises(TrainingDiverged):
        here.run()
    with pytest.raises(StageFailed, match="update 3: the loss is nan"):
        here.run()
    here.search = "search-2"
    with pytest.raises(TrainingDiverged):
        here.run()
    assert trained == ["search-1", "search-2"]


def test_so_does_one_whose_own_patience_ends_it(scene):
    early = {"metric": "loss", "patience": 1, "min_delta": 100.0}
    here = scene(early_stopping=early)
    here.stop_at(8)
    with pytest.raises(SystemExit):
        here.run()
    artifact = here.store.find(here.key)
    assert artifact is not None
    assert read_history(artifact.path / HISTORY)[-1]["step"] == 8
    assert here.tracker.ended == [("run 1", "FINISHED")]


def test_a_trial_that_is_stopped_early_has_not_failed(scene):
    here = scene()
    here.stop_at(4)
    with pytest.raises(SystemExit):
        here.run()
    assert here.store.find(here.key) is None
    assert here.tracker.ended == []  # its process has too little time left
    watch = trials._Watch(lambda latest: None, here.tracker)
    watch.on_trial_complete(1, [], SimpleNamespace(last_result=here.heard[-1][1]))
    assert here.tracker.ended == [("run 1", "KILLED")]
    here.on_report = lambda report: None
    here.run()  # goes on where it was stopped
    assert here.steps() == [4, 4, 8, 12]


def test_a_finished_trial_is_not_killed_afterwards(scene):
    here = scene()
    here.run()
    watch = trials._Watch(lambda latest: None, here.tracker)
    for last in (here.heard[-1][1], {}):
        watch.on_trial_complete(1, [], SimpleNamespace(last_result=last))
    assert here.tracker.ended == [("run 1", "FINISHED")]


def test_a_trial_that_breaks_has_failed(scene, monkeypatch):
    here = scene()
    monkeypatch.setattr(Store, "publish", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        here.run()
    assert here.tracker.ended == [("run 1", "FAILED")]


def test_one_that_was_taken_for_dead_ends_at_its_next_checkpoint(scene):
    here = scene()

    def take_over(report):
        lease = here.store.root / LEASES / f"model-{here.key.fingerprint}.maker"
        lease.write_text(lease.read_text().replace('"owner": "', '"owner": "another'))

    here.on_report = take_over
    with pytest.raises(LeaseLost, match="gave no sign of life"):
        here.run()
    assert here.store.find(here.key) is None
    assert here.steps() == [4], "its first row"
    assert here.tracker.ended == [("run 1", "FAILED")]


def test_equal_trials_side_by_side_train_once(scene, monkeypatch):
    monkeypatch.setattr(train, "WAIT_SECONDS", 0.2)
    here, waits = scene(), threading.Event()
    errors = []

    def body():
        try:
            here.run()
        except BaseException as error:
            errors.append(error)

    second = threading.Thread(target=body, name="second")

    def begin_the_second(report):
        if threading.current_thread().name == "MainThread" and not waits.is_set():
            waits.set()
            second.start()
            second.join(timeout=1)  # longer than it waits for a folder

    here.on_report = begin_the_second
    here.run()
    second.join(timeout=60)
    assert not errors
    assert here.steps() == here.steps("second") == [4, 8, 12]
    assert here.tracker.ended == [("run 1", "FINISHED")]
