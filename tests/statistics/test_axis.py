"""Changes and crossings that are planted along an axis are found, absent ones are not."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from simulated import AT_LEVEL, Simulation, rate

from kdray.errors import DataError
from kdray.scoring.counts import mean_of_segments
from kdray.statistics.axis import Advantage, Level, along
from kdray.statistics.contrast import Untested, compare
from kdray.statistics.crossing import Shown, crossing
from kdray.statistics.interaction import interaction
from kdray.statistics.resampling import Resamples
from kdray.statistics.seeds import pool_seeds

NAMES = {"method": "a", "baseline": "b"}


def level(at, gap, *, rng, seeds=3, mean=30.0, teacher=None, sd=1.0, num_segments=80):
    """A level where "a" is ahead of "b" by `gap`; scores are means over segments."""
    draws = Resamples.draw(num_segments, 200)

    def score(worth):
        return draws.score(mean_of_segments(rng.normal(worth, sd, num_segments)))

    return Level(
        at=at,
        cells={
            name: {seed: score(mean + rng.normal(0, 0.1) + own) for seed in range(seeds)}
            for name, own in (("a", gap), ("b", 0.0), ("c", -0.3))
        },
        teacher=None if teacher is None else score(teacher),
    )


def advantage_of(gaps, *, seed=0, same_students=False, **settings):
    rng = np.random.default_rng(seed)
    levels = [level(at, gap, rng=rng, **settings) for at, gap in gaps.items()]
    return along(levels, **NAMES, same_students=same_students)


def test_levels_are_taken_in_their_order_on_the_axis():
    rng = np.random.default_rng(0)
    levels = [level(at, gap, rng=rng) for at, gap in ((2, 3.0), (0, 1.0), (1, 2.0))]
    advantage = along(levels, **NAMES, same_students=False)
    assert advantage.places == (0, 1, 2)
    values = [tested.value for tested in advantage.by_level]
    assert values == pytest.approx([1, 2, 3], abs=0.6)
    runs = pool_seeds(levels[0].cells)
    assert advantage.by_level[2] == compare(runs["a"], runs["b"])


@pytest.mark.parametrize("same_students", [False, True])
def test_the_change_is_that_of_the_line_through_all_levels(same_students):
    advantage = advantage_of({0: 1.0, 1: 1.5, 3: 4.0}, same_students=same_students)
    values = [tested.value for tested in advantage.by_level]
    slope = np.polyfit([0, 1, 3], values, 1)[0]
    assert interaction(advantage).points.value == pytest.approx(3 * slope)


def test_a_change_needs_a_teacher_to_be_tested():
    change = interaction(advantage_of({0: 0.0, 1: 2.0, 2: 4.0}))
    assert change.points.p < 0.001
    assert (change.p, change.reason) == (
        None,
        "a level has no teacher that scores could be taken relative to",
    )


def test_a_change_that_the_teachers_scale_turns_round_is_none():
    """In points the advantage grows, in percent of the teacher it shrinks."""
    rng = np.random.default_rng(1)
    levels = [
        level(0, 2.0, rng=rng, mean=9, teacher=10, sd=0.1),
        level(1, 2.4, rng=rng, mean=18, teacher=20, sd=0.1),
        level(2, 2.8, rng=rng, mean=36, teacher=40, sd=0.1),
    ]
    change = interaction(along(levels, **NAMES, same_students=False))
    assert change.points.value > 0 > change.relative.value
    assert change.points.p < 0.001
    assert change.p == 1


def test_a_crossing_lies_where_the_line_between_two_levels_is_zero():
    found = crossing(advantage_of({0: -2.0, 1: -1.0, 2: 1.0, 3: 2.0}, sd=0.1))
    assert found.shown is Shown.CHANGE
    assert found.at == pytest.approx((1.5,), abs=0.15)
    assert 1 < found.low < found.at[0] < found.high < 2
    assert not found.ahead_below
    assert found.bounded_below
    assert found.bounded_above


def test_no_crossing_is_claimed_where_one_is_ahead_all_along():
    found = crossing(advantage_of({0: 2.0, 1: 1.5, 2: 2.0}, sd=0.1))
    assert (found.shown, found.at, found.low, found.high) == (Shown.KEEP, (), None, None)
    assert found.ahead_below


def test_a_crossing_that_may_lie_beyond_an_end_has_no_bound_there():
    found = crossing(advantage_of({0: -3.0, 1: -2.0, 2: 0.0}, sd=0.2))
    assert found.shown is Shown.OPEN
    assert 1 < found.low < 2
    assert found.high == inf
    assert not found.bounded_above


def test_where_nothing_is_told_apart_the_crossing_may_be_anywhere():
    found = crossing(advantage_of({0: 0.0, 1: 0.0, 2: 0.0}, sd=3.0))
    assert (found.shown, found.low, found.high) == (Shown.OPEN, -inf, inf)


def test_two_crossings_are_both_named_and_the_interval_spans_them():
    found = crossing(advantage_of({0: -2.0, 1: 2.0, 2: -2.0}, sd=0.1))
    assert found.at == pytest.approx((0.5, 1.5), abs=0.1)
    assert found.low < 0.5 < 1.5 < found.high


def test_the_side_that_is_asked_for_makes_no_difference():
    rng = np.random.default_rng(3)
    levels = [level(at, at - 1.2, rng=rng) for at in range(4)]
    one = crossing(along(levels, method="a", baseline="b", same_students=False))
    other = crossing(along(levels, method="b", baseline="a", same_students=False))
    assert one.at == pytest.approx(other.at)
    assert (one.low, one.high) == pytest.approx((other.low, other.high))
    assert one.p == pytest.approx(other.p)
    assert one.ahead_below is not other.ahead_below


@pytest.mark.parametrize(("shift", "unit"), [(-8.0, 1.0), (0.0, 1e3), (100.0, 1e-3)])
def test_where_an_axis_begins_and_its_unit_move_the_crossing_with_them(shift, unit):
    """Places may be negative, as logarithms of sizes are."""
    levels = [level(at, at - 1.2, rng=np.random.default_rng(at)) for at in range(4)]
    moved = [replace(each, at=shift + unit * each.at) for each in levels]
    one, other = (crossing(along(each, **NAMES, same_students=False)) for each in (levels, moved))
    for found, wanted in zip(
        (*other.at, other.low, other.high), (*one.at, one.low, one.high), strict=True
    ):
        assert (found - shift) / unit == pytest.approx(wanted, abs=1e-3)
    assert (other.p, other.ahead_below) == (pytest.approx(one.p), one.ahead_below)


def test_what_makes_no_axis_is_untested_with_its_reason():
    rng = np.random.default_rng(4)
    two = [level(at, 1.0, rng=rng) for at in (0, 1)]
    cases = {
        "2 of 2 levels": two,
        "2 of 3 levels": [*two, level(2, 1.0, rng=rng, seeds=1)],
        "not numeric: it has a level at 'large'": [*two, level("large", 1.0, rng=rng)],
        "not numeric: it has a level at True": [*two, level(True, 1.0, rng=rng)],
        "not numeric: it has a level at nan": [*two, level(float("nan"), 1.0, rng=rng)],
        "20 segments are too few": [*two, level(2, 1.0, rng=rng, num_segments=20)],
    }
    for reason, levels in cases.items():
        untested = along(levels, **NAMES, same_students=False)
        assert isinstance(untested, Untested)
        assert reason in untested.reason


def test_levels_that_contradict_each_other_are_refused():
    rng = np.random.default_rng(5)
    one, twin, longer = (
        level(at, 1.0, rng=rng, num_segments=n) for at, n in ((0, 80), (0, 80), (1, 90))
    )
    with pytest.raises(DataError, match="two levels are at 0"):
        along([one, twin], **NAMES, same_students=False)
    mixed = Level(at=2, cells=one.cells | {"b": longer.cells["b"]})
    with pytest.raises(DataError, match="at 2 some scores are of 80 segments and others of 90"):
        along([mixed], **NAMES, same_students=False)


def test_students_that_were_not_tested_at_all_levels_are_left_out_of_sums_over_them():
    rng = np.random.default_rng(6)
    levels = [level(at, 1.0, rng=rng, seeds=seeds) for at, seeds in enumerate((4, 3, 4))]
    advantage = along(levels, **NAMES, same_students=True)
    assert isinstance(advantage, Advantage)
    apart = [
        Level(
            each.at,
            {name: dict(list(runs.items())[at : at + 2]) for name, runs in each.cells.items()},
        )
        for at, each in enumerate([level(at, 1.0, rng=rng, seeds=4) for at in range(3)])
    ]
    untested = along(apart, **NAMES, same_students=True)
    assert isinstance(untested, Untested)
    assert "at all levels" in untested.reason


# Whole studies, drawn again and again.

PLACES = (0.0, 1.0, 2.0, 3.0)
BASE = (1.6, 1.2, 0.8, 0.4)  # the text gets harder: everybody's BLEU falls along the axis


def studies(gap, times, *, seeds=3, seed=0, num_segments=60):
    """Students of their own at each level; the fourth method stands for a teacher."""
    simulation = Simulation(np.random.default_rng(seed), num_segments)
    levels = [
        simulation.studies(times, abilities=[gap(place), 0, 0, 0.3], seeds=seeds, base=base)
        for place, base in zip(PLACES, BASE, strict=True)
    ]
    for study in zip(*levels, strict=True):
        yield along(
            [
                Level(place, dict(zip("abc", methods[:3], strict=True)), teacher=methods[3][0])
                for place, methods in zip(PLACES, study, strict=True)
            ],
            **NAMES,
            same_students=False,
        )


SEEDS = [2, 3, 5]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("seeds", SEEDS)
def test_an_absent_change_is_found_as_seldom_as_promised(seeds):
    changes = [interaction(each) for each in studies(lambda _: 0.0, 1000, seeds=seeds, seed=seeds)]
    in_points, both = (
        [p < 0.05 for p in each]
        for each in ([change.points.p for change in changes], [change.p for change in changes])
    )
    assert rate(in_points)[0] < AT_LEVEL, rate(in_points)
    assert rate(both)[0] < AT_LEVEL, rate(both)


@pytest.mark.slow
@pytest.mark.long
def test_a_planted_change_is_found_and_more_seeds_find_it_more_often():
    shares = []
    for seeds in (2, 3, 5):
        changes = [interaction(each) for each in studies(lambda x: 0.1 * x, 200, seeds=seeds)]
        shares.append(rate([change.p < 0.05 for change in changes])[0])
    assert shares == sorted(shares)
    assert shares[-1] > 0.8, shares


@pytest.mark.slow
@pytest.mark.long
def test_what_the_scale_of_the_scores_alone_does_is_no_change():
    """Both methods keep their percentage of a teacher whose scores fall from 40 to 20."""
    rng, draws = np.random.default_rng(7), Resamples.draw(80, 200)

    def study():
        levels = []
        for place, teacher in enumerate((40.0, 30.0, 20.0)):

            def score(percent, teacher=teacher):
                own = percent + rng.normal(0, 1.5)
                return draws.score(mean_of_segments(teacher * rng.normal(own, 15, 80) / 100))

            cells = {
                name: {seed: score(percent) for seed in range(3)}
                for name, percent in (("a", 95.0), ("b", 75.0))
            }
            fixed = draws.score(mean_of_segments(np.full(80, teacher)))
            levels.append(Level(place, cells, fixed))
        return interaction(along(levels, **NAMES, same_students=False))

    changes = [study() for _ in range(1000)]
    assert rate([change.points.p < 0.05 for change in changes])[0] > 0.5
    share, told = rate([change.p < 0.05 for change in changes])
    assert share < AT_LEVEL, told


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("same_students", [False, True])
def test_students_that_change_along_the_axis_by_themselves_are_no_change_of_the_method(
    same_students,
):
    """Each student has a slope of its own; the same students are tested at all levels or others."""
    rng, draws = np.random.default_rng(11), Resamples.draw(60, 200)
    places, wrong = (-1.0, 0.0, 1.0), []
    for _ in range(1000):
        cells = {place: {"a": {}, "b": {}} for place in places}
        for name in "ab":
            for seed in range(3):
                own, slope = rng.normal(0, 0.5), rng.normal(0, 0.3)
                for place in places:
                    if not same_students:
                        own, slope = rng.normal(0, 0.5), rng.normal(0, 0.3)
                    values = rng.normal(30 + own + slope * place, 1, 60)
                    cells[place][name][seed] = draws.score(mean_of_segments(values))
        levels = [Level(place, each) for place, each in cells.items()]
        advantage = along(levels, **NAMES, same_students=same_students)
        wrong.append(interaction(advantage).points.p < 0.05)
    share, told = rate(wrong)
    assert share < AT_LEVEL, told


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("seeds", SEEDS)
def test_a_planted_crossing_lies_in_its_interval_in_95_of_100_studies(seeds):
    planted = 1.4
    found = [crossing(each) for each in studies(lambda x: 0.25 * (x - planted), 1000, seeds=seeds)]
    held = [each.low is not None and each.low <= planted <= each.high for each in found]
    assert 0.93 < rate(held)[0] < (0.985 if seeds > 2 else 1), rate(held)


@pytest.mark.slow
@pytest.mark.long
def test_methods_that_are_equal_at_one_end_do_not_change_places():
    """The hardest case without a crossing: equal at the first level, one ahead from there on."""
    found = [crossing(each) for each in studies(lambda x: 0.2 * x, 500)]
    share, told = rate([each.shown is Shown.CHANGE for each in found])
    assert share < 0.05, told


@pytest.mark.slow
@pytest.mark.long
def test_more_seeds_make_the_interval_of_a_crossing_narrower():
    def width(each):
        return min(each.high, PLACES[-1]) - max(each.low, PLACES[0])

    widths = []
    for seeds in (2, 5):
        found = [crossing(each) for each in studies(lambda x: 0.5 * (x - 1.4), 100, seeds=seeds)]
        widths.append(np.median([width(each) for each in found if each.low is not None]))
    assert widths[1] < 0.8 * widths[0], widths
