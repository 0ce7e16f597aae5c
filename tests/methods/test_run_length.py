"""A method whose updates depend on how long the run will be says so, or is not told how long."""

from dataclasses import replace

import pytest
from method_examples import ALL_METHODS, TYPICAL
from toy_distillation import MIDDLE, Trial, midway

from kdray.config.trunks import follows_length
from kdray.methods.base import Clock, Loss, Method

LONGER = replace(MIDDLE, run_length=3000)
# Each method in one form, and each gate.
NAMES = [
    pytest.param(name, marks=() if name in TYPICAL or "schedule" in str(raw) else pytest.mark.slow)
    for name, raw in ALL_METHODS.items()
]
DECLARED = {"annealing", "taid", "imitation"}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_same_step_of_two_lengths_is_the_same_unless_declared(name):
    """After the same updates before it: value and gradients, to the last bit."""
    trials = [Trial.of(ALL_METHODS[name], clock=clock) for clock in (MIDDLE, LONGER)]
    one, other = (trial.everything() for trial in trials)
    same = all(one[which].equal(value) for which, value in other.items())
    assert same != follows_length(trials[0].config)


@pytest.mark.slow
def test_those_that_declare_it_are_these():
    """So that the law above does not pass because everything is declared."""
    configs = {name: Trial.of(raw).config for name, raw in ALL_METHODS.items()}
    for name, config in configs.items():
        scheduled = config.kind == "hybrid" and config.gate.kind == "schedule"
        assert follows_length(config) == (scheduled or config.kind in DECLARED), name
    assert {config.kind for config in configs.values()} > DECLARED


class Curious(Method):
    """Reads what its configuration does not declare."""

    def forward(self, student, batch):
        return Loss({}, {"progress": (self.clock.progress, None)})


@pytest.mark.parametrize("begun", [False, True])
def test_an_undeclared_method_is_not_told_the_length(begun):
    trial = Trial.of({"kind": "cross_entropy"})
    method = Curious(trial.config, trial.student)
    if begun:
        midway(method, MIDDLE)
        assert (method.clock.step, method.clock.epoch) == (MIDDLE.step, MIDDLE.epoch)
    for read in ("updates", "progress"):
        with pytest.raises(RuntimeError, match=r"return Needs\(\.\.\., run_length=True\)"):
            getattr(method.clock, read)
    with pytest.raises(RuntimeError, match="the length of the run is read"):
        method(trial.student, trial.batch())


def test_a_clock_tells_the_share_of_updates_that_were_made():
    assert Clock(step=26, run_length=100).progress == 0.25
