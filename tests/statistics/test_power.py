"""The number of seeds that is proposed finds the difference about as often as it says."""

import numpy as np
import pytest
from simulated import Simulation, World, rate

from kdray.scoring.counts import mean_of_segments
from kdray.statistics.contrast import Untested, compare
from kdray.statistics.power import MAX_SEEDS, NextRuns, what_next
from kdray.statistics.resampling import Resamples
from kdray.statistics.seeds import pool_seeds


def two_methods(
    gap, *, seeds=3, seed_sd=0.3, luck_sd=1.0, method_sd=0.5, num_segments=100, rng=None
):
    """Runs of two methods, as means over segments."""
    rng = rng or np.random.default_rng(0)
    draws = Resamples.draw(num_segments, 300)
    cells = {}
    for name, mean in {"a": gap, "b": 0.0}.items():
        suits = rng.normal(mean, method_sd, num_segments)
        cells[name] = {
            seed: draws.score(
                mean_of_segments(
                    suits + rng.normal(0, seed_sd) + rng.normal(0, luck_sd, num_segments)
                )
            )
            for seed in range(seeds)
        }
    return pool_seeds(cells)


def proposed(runs, **settings):
    return what_next(runs["a"], runs["b"], **settings)


def test_a_smaller_difference_a_stricter_level_and_more_power_need_more_seeds():
    runs = two_methods(1.0)
    seeds = [proposed(runs, difference=each).seeds for each in (2.0, 1.0, 0.6)]
    assert seeds == sorted(seeds)
    assert seeds[0] < seeds[-1]
    assert proposed(runs, difference=0.6, level=0.005).seeds > seeds[-1]
    assert proposed(runs, difference=0.6, power=0.95).seeds > seeds[-1]


def test_where_the_segments_are_too_few_more_of_them_are_asked_for():
    runs = two_methods(0.05, seed_sd=0.0, method_sd=2.0)
    plan = proposed(runs, difference=0.2)
    assert plan.seeds is None
    assert plan.segments_factor > 3
    assert "times as many segments" in str(plan)


def test_where_only_seeds_are_too_few_no_segments_are_asked_for():
    runs = two_methods(0.05, seed_sd=3.0, luck_sd=0.1, method_sd=0.1)
    plan = proposed(runs, difference=0.1)
    assert (plan.seeds, plan.segments_factor) == (None, 1.0)
    assert f"more than {MAX_SEEDS} seeds" in str(plan)


def test_without_noise_or_difference_nothing_is_proposed():
    runs = two_methods(1.0, seeds=1)
    assert isinstance(proposed(runs), Untested)
    runs = two_methods(1.0)
    assert isinstance(what_next(runs["a"], runs["a"]), Untested)


def test_the_observed_difference_is_the_one_to_find_unless_another_is_named():
    runs = two_methods(1.0)
    plan = proposed(runs)
    assert isinstance(plan, NextRuns)
    assert plan.difference == abs(compare(runs["a"], runs["b"]).value)
    assert str(plan).startswith(f"a difference of {plan.difference:.2f} would be found with")


@pytest.mark.slow
def test_the_proposed_seeds_have_about_the_power_that_was_asked_for():
    """The plan is made from a study large enough to know the parts of the variance."""
    simulation = Simulation(np.random.default_rng(5), 200, World(seed=0.08))

    def studies(times, seeds):
        for study in simulation.studies(times, abilities=[0.16, 0], seeds=seeds):
            yield pool_seeds(dict(enumerate(study)))

    wanted = float(np.mean([compare(runs[0], runs[1]).value for runs in studies(50, 20)]))
    plans = [what_next(runs[0], runs[1], difference=wanted).seeds for runs in studies(25, 20)]
    seeds = round(np.median(plans))
    share, told = rate([compare(runs[0], runs[1]).p < 0.05 for runs in studies(500, seeds)])
    assert 0.7 < share < 0.9, (seeds, told)
