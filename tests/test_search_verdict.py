"""What a winner is compared with, what is proposed, and that stopped trials stop where they did."""

import pickle
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import yaml
from micro_study import CONFIG

from kdray.cluster.proposals import BudgetStopper, key_of, proposer, scheduler
from kdray.config.experiment import Experiment
from kdray.config.search import SearchConfig
from kdray.config.space import grid, num_trials
from kdray.errors import ConfigError
from kdray.plan.step import SCORES, STUDENT, spec_of
from kdray.progress import Display
from kdray.runner.retrain import plan_retraining
from kdray.runner.search_space import check_search, search_notes
from kdray.runner.study import open_study

SPACE = {
    "gate.initial": {"kind": "uniform", "low": 0.2, "high": 0.8, "when": {"method": "hybrid"}},
    "temperature": {"kind": "choice", "values": [1.0, 2.0]},
}


def config(**changes):
    return SearchConfig.model_validate(
        {"methods": ["hybrid", "token_level"], "space": SPACE, **changes}
    )


def proposed(searcher, count, score=lambda values: values.get("gate.initial", 0.0)):
    """What a proposer gives when it is told of every trial before the next one."""
    points = []
    for number in range(count):
        name = f"trial-{number}"
        points.append(searcher.suggest(name))
        told = {key_of(0): score(points[-1]), key_of(1): 1.0, "training_iteration": 1}
        searcher.on_trial_result(name, told)
        searcher.on_trial_complete(name, told)
    return points


@pytest.mark.parametrize("algorithm", ["tpe", "nsga2", "random"])
@pytest.mark.parametrize("objectives", ["dev/bleu", ["dev/bleu", "parameters"]])
def test_equal_searches_propose_equal_points(algorithm, objectives):
    search = config(algorithm=algorithm, objectives=objectives, trials=12)
    one, other = (proposed(proposer(search, parallel=1, earlier=[]), 12) for _ in range(2))
    assert one == other
    assert len({repr(point) for point in one}) > 3
    for values in one:
        assert ("gate.initial" in values) == (values["method"] == "hybrid")


def test_what_proposes_can_be_stored():
    searcher = proposer(config(), parallel=1, earlier=[])
    again = pickle.loads(pickle.dumps(searcher))
    assert proposed(again, 4) == proposed(searcher, 4)


def test_a_grid_tries_each_of_its_points_in_order():
    search = config(algorithm="grid", space={k: v for k, v in SPACE.items() if k == "temperature"})
    assert num_trials(search) == 4
    assert proposed(proposer(search, parallel=1, earlier=[]), 4) == grid(search)


def test_starts_are_tried_first_and_completed_by_the_sampler():
    starts = [{"method": "hybrid", "gate.initial": 0.33, "temperature": 2.0}, {"temperature": 1.0}]
    first, second, *_ = proposed(proposer(config(starts=starts), parallel=1, earlier=[]), 3)
    assert first == starts[0]
    assert second["temperature"] == 1.0
    assert "method" in second


def test_an_earlier_search_leads_the_sampler_to_where_it_was_good():
    search = config(trials=2, space={"gate.initial": SPACE["gate.initial"] | {"when": {}}})
    points = [{"method": "hybrid", "gate.initial": 0.2 + 0.6 * n / 39} for n in range(40)]

    def near(values):
        return -abs(values["gate.initial"] - 0.7)

    told = [(values, {"dev/bleu": near(values)}) for values in points]
    found = [
        [near(p) for p in proposed(proposer(search, parallel=1, earlier=earlier), 15, near)]
        for earlier in (told, [])
    ]
    assert sum(found[0]) > sum(found[1])


@dataclass(eq=False)
class Running:
    """What schedulers know of a trial."""

    trial_id: str
    status: str = "RUNNING"


@pytest.mark.parametrize("stopping", ["asha", "median"])
def test_a_scheduler_that_is_told_all_again_stops_at_the_same_updates(stopping):
    search = config(stopping=stopping)
    curves = [[5, 6, 7, 8], [4, 5, 6, 7], [6, 7, 8, 9], [1, 1, 1, 1], [5, 7, 9, 11], [2, 2, 2, 2]]

    def stops():
        rule = scheduler(search, first=10, last=40)
        controller = SimpleNamespace(get_live_trials=lambda: [SimpleNamespace(status="PENDING")])
        ends = []
        for number, curve in enumerate(curves):
            trial = Running(str(number))
            rule.on_trial_add(controller, trial)
            for step, score in enumerate(curve, start=1):
                result = {"step": 10 * step, key_of(0): float(score)}
                if rule.on_trial_result(controller, trial, result) == "STOP":
                    break
            rule.on_trial_complete(controller, trial, result)
            ends.append(10 * step)
        return ends

    assert stops() == stops()
    assert stops()[3] < 40 == stops()[2], "a bad trial is stopped, the best one is not"


def test_a_budget_ends_the_search_once_all_trials_together_have_used_it():
    stopper = BudgetStopper.of(config(target_tokens=1000, train_hours=1))
    assert not stopper.stop_all()
    assert not stopper("one", {"tokens": 600, "seconds": 10})
    assert not stopper.stop_all()
    stopper("one", {"tokens": 700, "seconds": 12})
    assert not stopper.stop_all(), "a trial's reports do not add up"
    stopper("other", {"tokens": 300, "seconds": 12})
    assert stopper.stop_all()
    assert BudgetStopper(float("inf"), 3600.0, {"one": (0, 3600.0)}).stop_all()


def micro(storage, **search):
    raw = yaml.safe_load(CONFIG)
    raw["execution"] = {"storage": str(storage), "tracking": {"enabled": False}}
    raw["search"] |= search
    return Experiment.model_validate(raw)


@pytest.mark.slow
def test_the_winner_is_compared_with_the_methods_of_the_recipe_by_fresh_seeds(tmp_path):
    space = {
        "gate.initial": {"kind": "uniform", "low": 0.2, "high": 0.8},
        "student.width": {"kind": "integer", "low": 32, "high": 64, "step": 16},
        "training.schedule.peak": {"kind": "choice", "values": [0.01, 0.02]},
    }
    values = {"gate.initial": 0.3, "student.width": 48, "training.schedule.peak": 0.02}
    with open_study(micro(tmp_path, space=space), Display()) as study:
        candidates = check_search(study).candidates
        planned = plan_retraining(study, candidates, values)
        trial = spec_of(candidates.step(values))
    students = planned.plan.of(STUDENT)
    assert {s.cell.method for s in students} == {"cross_entropy", "hybrid", planned.name}
    assert {s.cell.seed for s in students} == {2, 3, 4}, "trials have seed 1"
    specs = {s.cell.method: spec_of(s) for s in students if s.cell.seed == 2}
    found = specs[planned.name]
    assert (found.model, found.method) == (trial.model, trial.method)
    assert found.training == trial.training
    assert specs["hybrid"].model.width == 32, "the others are those of the recipe"
    assert specs["hybrid"].training.schedule.peak == 0.01
    cells = [step.cell for step in planned.plan.of(SCORES)]
    assert len(cells) == len(set(cells)) == 1 + len(students), "each is scored once"


@pytest.mark.slow
def test_methods_beside_the_winner_are_those_that_are_named(tmp_path):
    retrain = {"seeds": [7, 8], "beside": ["cross_entropy"]}
    with open_study(micro(tmp_path, retrain=retrain), Display()) as study:
        searchable = check_search(study)
        planned = plan_retraining(study, searchable.candidates, {"gate.initial": 0.3})
        (note,) = search_notes(study, searchable)
    assert note == (
        "2 trials of at most 30 updates, then 4 trainings to compare the winner: cross_entropy and "
        "found, seeds 7 and 8"
    )
    cells = [step.cell for step in planned.plan.of(STUDENT)]
    assert {cell.method for cell in cells} == {"cross_entropy", planned.name}
    assert {cell.seed for cell in cells} == {7, 8}


@pytest.mark.slow
def test_the_seed_of_the_trials_is_no_fresh_one(tmp_path):
    words = r"search\.retrain\.seeds \[5, 1\]: all trials have the seed 1"
    with (
        open_study(micro(tmp_path, retrain={"seeds": [5, 1]}), Display()) as study,
        pytest.raises(ConfigError, match=words),
    ):
        check_search(study)
