"""Differences between methods err as seldom as they promise, however many seeds there are."""

import numpy as np
import pytest
from scipy import stats
from simulated import AT_LEVEL, Simulation, World, rate

from kdray.errors import DataError
from kdray.scoring.counts import bleu, mean_of_segments
from kdray.statistics.contrast import Estimate, Untested, compare, contrast
from kdray.statistics.multiplicity import correct
from kdray.statistics.resampling import Resamples, Score
from kdray.statistics.seeds import Runs, pool_seeds


def runs_of_means(means, *, num_segments=50, seed=0, samples=200):
    """Two methods, "a" and "b", whose runs have these true means."""
    rng, draws = np.random.default_rng(seed), Resamples.draw(num_segments, samples)
    return pool_seeds(
        {
            name: {
                number: draws.score(mean_of_segments(rng.normal(mean, 1, num_segments)))
                for number, mean in enumerate(values)
            }
            for name, values in means.items()
        }
    )


def test_without_noise_of_segments_it_is_students_t_test():
    draws = Resamples.draw(40, 100)
    values = {"a": [31.0, 31.9, 31.3], "b": [30.1, 30.7, 30.2]}
    cells = {
        name: {seed: draws.score(mean_of_segments([v] * 40)) for seed, v in enumerate(each)}
        for name, each in values.items()
    }
    runs = pool_seeds(cells)
    difference = compare(runs["a"], runs["b"])
    expected = stats.ttest_ind(values["a"], values["b"])
    assert difference.df == pytest.approx(expected.df)
    assert difference.p == pytest.approx(expected.pvalue)
    assert difference.interval == pytest.approx(tuple(expected.confidence_interval()))


def test_without_seeds_it_is_a_paired_t_test_over_segments():
    rng = np.random.default_rng(0)
    one, other = rng.normal(0.3, 1, 200), rng.normal(0, 1, 200)
    draws = Resamples.draw(200, 4000)
    a, b = (Runs.fixed(draws.score(mean_of_segments(values))) for values in (one, other))
    expected = stats.ttest_rel(one, other)
    difference = compare(a, b)
    assert difference.df == pytest.approx(199)
    assert difference.t == pytest.approx(expected.statistic, rel=0.05)
    assert difference.p == pytest.approx(expected.pvalue, rel=0.4)


def test_exchanging_the_sides_mirrors_the_difference():
    runs = runs_of_means({"a": [1, 1.2, 0.9], "b": [0.5, 0.4]})
    one, other = compare(runs["a"], runs["b"]), compare(runs["b"], runs["a"])
    assert (one.value, one.p, one.df) == pytest.approx((-other.value, other.p, other.df))
    assert one.interval == pytest.approx(tuple(-end for end in reversed(other.interval)))
    assert one.p_greater == pytest.approx(other.p_less)


def test_a_method_does_not_differ_from_itself():
    runs = runs_of_means({"a": [1, 1.2, 0.9]})
    difference = compare(runs["a"], runs["a"])
    assert (difference.value, difference.p) == (0, 1)


def test_p_and_interval_say_the_same():
    for seed in range(30):
        runs = runs_of_means({"a": [0.4, 0.5], "b": [0, 0.1]}, seed=seed)
        difference = compare(runs["a"], runs["b"])
        low, high = difference.interval
        assert (difference.p < 0.05) == (not low <= 0 <= high)
        assert difference.half_width == pytest.approx((high - low) / 2)


def test_one_seed_is_untested_and_told_what_its_sentences_say():
    runs = runs_of_means({"a": [1], "b": [0, 0.1]})
    difference = compare(runs["a"], runs["b"])
    assert isinstance(difference, Untested)
    assert difference.p is None
    assert "one seed" in difference.reason
    assert difference.these_models.p < 0.05
    assert difference.these_models.value == difference.value


def test_a_given_system_has_no_seed_noise():
    runs = runs_of_means({"a": [1, 1.1, 0.9], "b": [0]})
    difference = compare(runs["a"], Runs.fixed(runs["b"].scores[0]))
    assert isinstance(difference, Estimate)
    assert difference.seed_variance == pytest.approx(runs["a"].noise.own / 3)


def test_few_segments_are_untested():
    runs = runs_of_means({"a": [1, 1.1], "b": [0, 0.1]}, num_segments=29)
    difference = compare(runs["a"], runs["b"])
    assert isinstance(difference, Untested)
    assert "29 segments are too few" in difference.reason
    assert difference.value == pytest.approx(1, abs=0.5)


def test_other_segments_or_resamples_are_refused():
    a = runs_of_means({"a": [1, 1.1]}, num_segments=50)["a"]
    with pytest.raises(DataError, match="50 segments and the other 60"):
        compare(a, runs_of_means({"b": [1, 1.1]}, num_segments=60)["b"])
    with pytest.raises(DataError, match="200, 100 resamples"):
        compare(a, runs_of_means({"b": [1, 1.1]}, samples=100)["b"])
    with pytest.raises(DataError, match="0 cells"):
        contrast([])


def test_a_zero_teacher_is_no_measure():
    score = Score(1.0, np.ones(3), 40)
    with pytest.raises(DataError, match="is 0 on the test"):
        score.relative_to(Score(0.0, np.zeros(3), 40))


# Whole studies, drawn again and again.


def runs_of(study):
    return pool_seeds(dict(enumerate(study)))


WORLDS = {
    "as usual": World(),
    "large seed noise": World(seed=0.12),
    "no seed noise": World(seed=0),
    "seeds alone": World(method_by_segment=0, seed_by_segment=0, seed=0.1),
}


CASES = [
    pytest.param(
        world,
        seeds,
        methods,
        marks=() if (world, methods) == ("as usual", 2) else pytest.mark.long,
    )
    for world in WORLDS
    for seeds in (2, 3, 5)
    for methods in (2, 6)
]


@pytest.mark.slow
@pytest.mark.parametrize(("world", "seeds", "methods"), CASES)
def test_equal_methods_differ_as_seldom_as_promised(world, seeds, methods):
    """2 methods pool the least that can be pooled; p and interval cannot disagree (see above)."""
    simulation = Simulation(np.random.default_rng(seeds * 10 + methods), world=WORLDS[world])
    wrong = [
        compare(*list(runs_of(study).values())[:2]).p < 0.05
        for study in simulation.studies(1000, abilities=[0] * methods, seeds=seeds)
    ]
    share, told = rate(wrong)
    assert share < AT_LEVEL, told


@pytest.mark.slow
def test_sentences_alone_find_what_is_not_there():
    """Why seeds are counted: with their noise left out, chance findings are many."""
    simulation = Simulation(np.random.default_rng(8), world=WORLDS["large seed noise"])
    wrong = [
        compare(*(Runs.fixed(method[0]) for method in study)).p < 0.05
        for study in simulation.studies(500, abilities=[0, 0], seeds=1)
    ]
    assert rate(wrong)[0] > 0.2, rate(wrong)


@pytest.mark.slow
def test_a_report_of_equal_methods_holds_a_false_finding_in_one_of_twenty_at_most():
    wrong = []
    for study in Simulation(np.random.default_rng(9)).studies(1000, abilities=[0] * 6, seeds=3):
        runs = runs_of(study)
        p_values = {each: compare(runs[each], runs[0]).p for each in range(1, 6)}
        wrong.append(min(correct(p_values).values()) < 0.05)
    share, told = rate(wrong)
    assert share < AT_LEVEL, told


@pytest.mark.long
@pytest.mark.slow
def test_more_seeds_find_more_and_their_intervals_hold_the_truth():
    """The truth is BLEU on a test without end, of a method over all its seeds."""
    rng, abilities = np.random.default_rng(10), [0.2, 0, 0, 0]
    large = Simulation(rng, num_segments=20_000).counts(1, abilities[:2], seeds=40)
    truth = float(np.subtract(*bleu(large[0].sum(axis=2)).mean(axis=1)))
    shares, held = [], []
    for seeds in (2, 3, 5, 8):
        differences = [
            compare(*list(runs_of(study).values())[:2])
            for study in Simulation(rng, 100).studies(300, abilities=abilities, seeds=seeds)
        ]
        shares.append(rate([each.p < 0.05 for each in differences])[0])
        held += [each.interval[0] <= truth <= each.interval[1] for each in differences]
    assert shares == sorted(shares)
    assert shares[0] + 0.15 < shares[-1], shares
    assert 0.93 < rate(held)[0] < 0.985, (truth, shares, rate(held))
