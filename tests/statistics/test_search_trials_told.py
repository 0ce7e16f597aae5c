"""What trials say: which stopped ones might have won, and which dimensions matter."""

import pytest
from optuna.samplers import RandomSampler

from kdray.config.objectives import ObjectiveConfig
from kdray.config.search import SearchConfig
from kdray.statistics.optuna_space import FEWEST, importances, study_with, suggested
from kdray.statistics.trials import TrialResult, regret_of, winner_among

BLEU, LOSS = ObjectiveConfig(metric="dev/bleu"), ObjectiveConfig(metric="dev/loss")


def trial(*curve, stopped=False, metric="dev/bleu", updates=40, **values):
    """A trial with a score at every tenth update."""
    points = [(10 * number, score) for number, score in enumerate(curve, start=1)]
    return TrialResult(
        values=values, score=curve[-1], step=points[-1][0], fingerprint="f" * 16,
        scores={metric: curve[-1]}, curve=points, updates=updates, is_stopped=stopped,
    )  # fmt: skip


@pytest.mark.parametrize("objective", [BLEU, LOSS])
def test_a_stopped_trial_might_have_won_if_the_largest_gain_lifts_it_over_the_winner(objective):
    sign, metric = objective.sign, objective.metric
    finished = [(1, 2, 3, 10), (2, 3, 4, 9), (3, 4, 5, 8)]  # gains from 10: 9, 7, 5
    trials = [trial(*(sign * each for each in curve), metric=metric) for curve in finished]
    trials += [trial(sign * score, stopped=True, metric=metric) for score in (0.9, 1.1)]
    regret = regret_of(trials, objective)
    assert [hope.number for hope in regret.hopes] == [5]
    assert regret.hopes[0].highest == pytest.approx(sign * 10.1)
    assert regret.stopped == 2
    assert regret.saved == pytest.approx(2 * 30 / (5 * 40))
    (rung,) = regret.rungs
    assert (rung.step, rung.compared) == (10, 3)
    assert rung.correlation == pytest.approx(-1), "the order at the rung is turned round"
    assert "might have won" in regret.sentences[-1]


def test_with_few_finished_trials_nothing_is_said_of_the_others():
    regret = regret_of([trial(1, 2), trial(3, 4), trial(1, stopped=True)], BLEU)
    assert regret.hopes == ()
    assert "Too few trials" in regret.sentences[-1]


def test_a_stopped_or_failed_trial_does_not_win():
    stopped, finished = trial(99, stopped=True), trial(1, 2)
    failed = TrialResult({}, None, 0, "", error="it diverged")
    assert winner_among([stopped, failed, finished], [BLEU]) is finished
    assert winner_among([stopped, failed], [BLEU]) is None


def search(**changes):
    return SearchConfig.model_validate({
        "methods": ["one", "other"],
        "space": {
            "knob": {"kind": "uniform", "low": 0, "high": 1},
            "inert": {"kind": "uniform", "low": 0, "high": 1},
            "own": {"kind": "choice", "values": [{"a": 1}, True, 1], "when": {"method": "one"}},
        },
        "objectives": ["dev/bleu", "dev/loss", "parameters"], **changes,
    })  # fmt: skip


def drawn(config, count):
    study = study_with(config, [])
    study.sampler = RandomSampler(seed=1)
    return [suggested(config, study.ask()) for _ in range(count)]


def test_what_is_drawn_lies_in_the_space_and_keeps_its_types():
    config = search()
    points = drawn(config, 60)
    for values in points:
        assert ("own" in values) == (values["method"] == "one")
        assert all(config.dimensions[path].holds(value) for path, value in values.items())
    kept = {repr(values["own"]) for values in points if "own" in values}
    assert kept == {"{'a': 1}", "True", "1"}


def test_the_dimension_that_decides_is_the_most_important_one():
    config = search()
    told = []
    for values in drawn(config, 40):
        loss = float(values["method"] == "one")
        told.append(
            (values, {"dev/bleu": 10 * values["knob"], "dev/loss": loss, "parameters": 1.0})
        )
    found = importances(config, told)
    assert list(found) == ["dev/bleu", "dev/loss"], "not of costs"
    assert max(found["dev/bleu"], key=found["dev/bleu"].get) == "knob"
    assert max(found["dev/loss"], key=found["dev/loss"].get) == "method"
    assert sum(found["dev/bleu"].values()) == pytest.approx(1)
    assert importances(config, told[: FEWEST - 1]) == {}
