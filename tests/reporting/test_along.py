"""What is planted along an axis is found and told with its place, what is absent is not."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_tables import Worlds, facts

from kdray.condition import Condition
from kdray.reporting.along import MANY, follow_axes, is_logarithmic
from kdray.reporting.analysis import analyse
from kdray.reporting.axes import GIVEN, LENGTH, SIZE
from kdray.reporting.compare import corrected
from kdray.reporting.overview import overview_of
from kdray.reporting.samples import Samples
from kdray.statistics.axis import Level, along
from kdray.statistics.crossing import crossing
from kdray.statistics.interaction import interaction

NUMBERS = {"0.0": 0.0, "0.1": 0.1, "0.2": 0.2, "0.3": 0.3}
NOISE = facts(axes={"noise": NUMBERS})


def along_noise(gain, *, seed=0, labels=tuple(NUMBERS), **settings):
    """Tables along an axis on which `kd` is ahead of `ce` by gain(place), and their axis."""
    worlds = Worlds(seed, sd=0.5)
    return [
        worlds.samples(
            {"ce": 20.0, "kd": 20.0 + gain(NUMBERS[label])},
            point=(("noise", label),),
            **settings,
        )
        for label in labels
    ]


def told_of(sampled, study=NOISE):
    """The only axis, corrected, its pair if there is one, and what the overview says of it."""
    _, (found,), num_tests = corrected([], follow_axes(sampled, study=study))
    overview = overview_of([], [found], study=study, num_tests=num_tests)
    ((title, sentences),) = overview.axes
    return found, title, " ".join(sentences)


def test_a_planted_change_is_found_and_told():
    found, title, text = told_of(along_noise(lambda x: 1 + 20 * x))
    (pair,) = found.pairs
    assert (pair.method, pair.other) == ("ce", "kd")
    assert pair.change.is_finding
    assert pair.change.points == pytest.approx(-6, abs=0.5)
    assert pair.change.low < -6 < pair.change.high
    assert pair.change.relative == pytest.approx(-15, abs=2)
    assert title == "Along noise on test-x"
    assert "The advantage of kd over ce grows by " in text
    assert "from 0.0 to 0.3, and by 1" in text
    assert "kd is ahead of ce all along the axis (p <0.001)" in text
    assert "change places" not in text


def test_a_planted_crossing_is_found_and_told_with_its_place():
    found, _, text = told_of(along_noise(lambda x: 20 * (x - 0.16)))
    (pair,) = found.pairs
    assert pair.crossing.is_finding
    assert not pair.crossing.is_kept
    assert pair.crossing.low < 0.16 < pair.crossing.high
    (at,) = pair.crossing.at
    assert at == pytest.approx(0.16, abs=0.02)
    assert f"they change places at {at:.3g} [{pair.crossing.low:.3g} to" in text
    assert "ahead" not in text


@pytest.mark.slow
def test_what_is_absent_is_not_told():
    for seed in range(8):
        found, _, text = told_of(along_noise(lambda _: 0.0, seed=seed))
        (pair,) = found.pairs
        assert not pair.change.is_finding
        assert not pair.crossing.is_finding
        assert text == "No change and no crossing is shown between ce and kd."


def test_a_constant_advantage_is_ahead_all_along_and_no_change():
    found, _, text = told_of(along_noise(lambda _: 3.0))
    (pair,) = found.pairs
    assert (pair.crossing.is_empty, pair.crossing.is_kept, pair.crossing.at) == (True, True, ())
    assert text == "kd is ahead of ce all along the axis (p <0.001)."


def test_who_is_ahead_at_all_levels_is_told_only_if_that_stays_after_the_correction():
    found, _, text = told_of(along_noise(lambda _: 0.2))
    (pair,) = found.pairs
    assert all(level.high < 0 for level in pair.levels)
    assert pair.crossing.is_empty
    assert pair.crossing.p_kept_uncorrected < 0.05 < pair.crossing.p_kept
    assert text == "No change and no crossing is shown between ce and kd."


def test_the_numbers_are_those_of_the_statistics():
    sampled = along_noise(lambda x: 20 * (x - 0.16))
    (found,) = follow_axes(sampled, study=NOISE)
    levels = [
        Level(NUMBERS[dict(each.table.point)["noise"]], each.by_method("tiny"), each.teacher)
        for each in sampled
    ]
    advantage = along(levels, method="ce", baseline="kd", same_students=False)
    (pair,) = found.pairs
    assert pair.change.p_uncorrected == interaction(advantage).p
    wanted = crossing(advantage)
    assert (pair.crossing.at, pair.crossing.p_uncorrected) == (wanted.at, wanted.p)
    for at, tested in zip(pair.levels, advantage.by_level, strict=True):
        assert (at.value, at.low, at.high) == (tested.value, *tested.interval)
    assert pair.crossing.p_kept_uncorrected == 1, "each is ahead somewhere"
    (kept,) = follow_axes(along_noise(lambda _: 0.2), study=NOISE)
    assert kept.pairs[0].crossing.p_kept_uncorrected > 0.01, "the largest p of all levels"


def test_levels_are_in_order_of_their_numbers_and_not_of_their_labels():
    numbers = {"1000": 1000.0, "200": 200.0, "30": 30.0}
    worlds = Worlds()
    sampled = [
        worlds.samples({"ce": 20.0, "kd": 21.0}, point=(("pairs", label),)) for label in numbers
    ]
    (found,) = follow_axes(sampled, study=facts(axes={"pairs": numbers}))
    assert (found.labels, found.places) == (("30", "200", "1000"), (30.0, 200.0, 1000.0))
    assert found.is_log
    for line in found.lines.values():
        assert [at.place for at in line] == pytest.approx([30, 200, 1000])


@given(
    start=st.floats(0.01, 100),
    step=st.floats(0.1, 100),
    factor=st.floats(1.3, 10),
    levels=st.integers(3, 6),
)
def test_factors_are_logarithmic_and_equal_steps_are_not(start, step, factor, levels):
    assert is_logarithmic([start * factor**level for level in range(levels)])
    assert not is_logarithmic([start + step * level for level in range(levels)])
    assert not is_logarithmic([0.0, *(start * factor**level for level in range(levels))])
    assert not is_logarithmic([start, start * factor])


def test_a_crossing_on_a_logarithmic_axis_is_told_in_its_own_unit():
    sizes = {"tiny": 1_000_000, "small": 4_000_000, "big": 16_000_000, "huge": 64_000_000}
    worlds = Worlds(sd=0.5)
    sampled = [
        worlds.samples(
            {"ce": 20.0, "kd": 20.0 + gain}, sizes={size: num_params}, point=(), split="test-x"
        )
        for (size, num_params), gain in zip(sizes.items(), (-3.0, -1.0, 1.0, 3.0), strict=True)
    ]
    found, title, text = told_of(sampled, facts())
    assert title == f"Along {SIZE} on test-x"
    assert (found.labels, found.is_log) == (tuple(sizes), True)
    (at,) = found.pairs[0].crossing.at
    assert math.log(at) == pytest.approx(math.log(8e6), abs=0.3)
    assert f"change places at {at:.3g} [" in text
    assert "from tiny to huge" in text


def test_two_levels_are_lines_without_tests():
    found, _, text = told_of(along_noise(lambda _: 3.0, labels=("0.0", "0.3")))
    assert set(found.lines) == {"ce", "kd"}
    assert all(at.low < at.value < at.high for line in found.lines.values() for at in line)
    (pair,) = found.pairs
    assert (pair.levels, pair.change, pair.crossing) == ((), None, None)
    assert text.startswith("Not tested: 2 of 2 levels have ce and kd with two seeds or more")
    assert follow_axes(along_noise(lambda _: 3.0, labels=("0.0",)), study=NOISE) == []


def test_one_seed_is_a_line_without_intervals_and_without_tests():
    found, _, text = told_of(along_noise(lambda _: 3.0, seeds=[1]))
    assert all((at.low, at.high) == (None, None) for line in found.lines.values() for at in line)
    assert text.startswith("Not tested: 0 of 4 levels")


def test_without_a_teacher_a_change_is_untested_and_the_reader_is_told():
    found, _, text = told_of(along_noise(lambda x: 20 * x, teacher=None))
    (pair,) = found.pairs
    assert pair.change is None
    assert pair.crossing is not None
    assert "A change is not tested: a level has no teacher" in text


def test_neither_dev_nor_another_beam_nor_an_axis_of_names_is_followed():
    names = facts(axes={"noise": None})
    assert follow_axes(along_noise(lambda _: 3.0), study=names) == []
    assert follow_axes(along_noise(lambda _: 3.0, split="dev"), study=NOISE) == []
    assert follow_axes(along_noise(lambda _: 3.0, beam=1), study=NOISE) == []


def grid(gain, cells, *, seed=0, names=("x", "y")):
    worlds = Worlds(seed, sd=0.5)
    return [
        worlds.samples(
            {"ce": 20.0, "kd": 20.0 + gain(x, y)},
            point=((names[0], str(x)), (names[1], str(y))),
        )
        for x, y in cells
    ]


def axes(*names, levels=4):
    return facts(axes={name: {str(n): float(n) for n in range(levels)} for name in names})


def advantages(found):
    (pair,) = found.pairs
    return [-at.value for at in pair.levels]  # of kd over ce


def test_a_full_grid_is_followed_in_the_mean_over_the_other_axis():
    cells = [(x, y) for x in range(3) for y in range(2)]
    sampled = grid(lambda x, y: x + 4 * y, cells)
    along_x, along_y = follow_axes(sampled, study=axes("x", "y"))
    assert (along_x.axis, along_y.axis) == ("x", "y")
    assert len(along_x.over) == 2
    assert ["y 0" in each for each in along_x.over] == [True, False]
    assert advantages(along_x) == pytest.approx([2, 3, 4], abs=0.3)
    assert len(along_y.over) == 3
    told = overview_of([], [along_x], study=axes("x", "y"), num_tests=0).axes[0][1]
    assert told[0] == "In the mean over 2 combinations of the other axes."


def test_the_mean_is_over_combinations_that_are_there_at_every_level():
    cells = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 2), (1, 2)]
    sampled = grid(lambda x, y: x + (50 if y == 2 else 0), cells)
    along_x, _ = follow_axes(sampled, study=axes("x", "y"))
    assert len(along_x.over) == 2
    assert advantages(along_x) == pytest.approx([0, 1, 2], abs=0.3)


def test_a_grid_of_one_axis_at_a_time_is_followed_through_its_first_point():
    cells = [(0, 0), (1, 0), (2, 0), (0, 1), (0, 2), (0, 3)]
    sampled = grid(lambda x, y: x + 10 * y, cells)
    along_x, along_y = follow_axes(sampled, study=axes("x", "y"))
    assert len(along_x.over) == len(along_y.over) == 1
    assert advantages(along_x) == pytest.approx([0, 1, 2], abs=0.3)
    assert advantages(along_y) == pytest.approx([0, 10, 20, 30], abs=0.3)


@pytest.mark.parametrize("name", ["size", "updates"])
def test_an_axis_of_the_recipe_may_be_called_as_those_of_every_study(name):
    worlds = Worlds(sd=0.5)
    sampled = [
        worlds.samples(
            {"ce": 20.0, "kd": 20.0 + level},
            point=((name, str(level)),),
            sizes={"tiny": 1_000_000, "small": 2_000_000},
        )
        for level in range(3)
    ]
    own, of_size = follow_axes(sampled, study=axes(name))
    assert (own.axis, own.labels) == (name, ("0", "1", "2"))
    assert advantages(own) == pytest.approx([0, 1, 2], abs=0.3)
    assert (of_size.axis, of_size.labels) == (SIZE, ("tiny", "small"))


def test_lengths_of_training_are_an_axis():
    worlds = Worlds(sd=0.5)
    sampled = [
        worlds.samples({"ce": 20.0, "kd": 20.0 + length / 400}, length=length)
        for length in (1600, 400, 800)
    ]
    (found,) = follow_axes(sampled, study=facts())
    assert (found.axis, found.labels) == (LENGTH, ("400", "800", "1600"))
    assert found.is_log
    assert advantages(found) == pytest.approx([1, 2, 4], abs=0.3)


def test_shares_of_the_reference_are_an_axis_of_the_same_students():
    """What a seed is worth is the same at all shares, so it does not blur the change."""
    worlds, shares, seeds = Worlds(sd=0.2), (0.0, 0.25, 0.5, 0.75), (1, 2, 3)
    luck = {(name, seed): worlds.rng.normal(0, 3) for name in ("ce", "kd") for seed in seeds}
    sampled = []
    for share in shares:
        condition = Condition.of_prefix(share) if share else Condition.of_beam(5)
        gains = {"ce": 0.0, "kd": 2 * share}
        cells = {
            ("tiny", name): {seed: worlds.score(20 + luck[name, seed] + gain) for seed in seeds}
            for name, gain in gains.items()
        }
        made = worlds.samples(gains, condition=condition)
        models = {row: {seed: f"{row[1]}-{seed}" for seed in seeds} for row in cells}
        sampled.append(Samples(made.table, made.metric, cells, models, made.teacher))
    found, _, _ = told_of(sampled, facts())
    assert (found.axis, found.labels) == (GIVEN, ("0.0", "0.25", "0.5", "0.75"))
    assert found.pairs[0].change.is_finding
    levels = [
        Level(share, each.by_method("tiny"), each.teacher)
        for share, each in zip(shares, sampled, strict=True)
    ]
    same, apart = (
        interaction(along(levels, method="ce", baseline="kd", same_students=same_students)).p
        for same_students in (True, False)
    )
    assert found.pairs[0].change.p_uncorrected == same < 0.05 < apart


@pytest.mark.slow
@pytest.mark.parametrize(("num_methods", "num_pairs"), [(MANY, 15), (MANY + 1, 6)])
def test_many_methods_are_followed_beside_the_baseline_alone(num_methods, num_pairs):
    names = [f"m{number}" for number in range(num_methods)]
    worlds = Worlds(num_segments=30, samples=50)
    sampled = [
        worlds.samples({name: 20.0 for name in names}, point=(("noise", label),))
        for label in ("0.0", "0.1", "0.2")
    ]
    (found,) = follow_axes(sampled, study=replace(NOISE, baseline="m1"))
    assert set(found.lines) == set(names)
    pairs = {frozenset((pair.method, pair.other)) for pair in found.pairs}
    assert len(pairs) == len(found.pairs) == num_pairs
    if num_methods > MANY:
        assert all("m1" in pair for pair in pairs)


def test_a_method_that_a_level_lacks_is_left_out():
    worlds = Worlds()
    sampled = [
        worlds.samples(
            {"ce": 20.0, "kd": 21.0} | ({"more": 22.0} if label != "0.2" else {}),
            point=(("noise", label),),
        )
        for label in ("0.0", "0.1", "0.2")
    ]
    (found,) = follow_axes(sampled, study=NOISE)
    assert set(found.lines) == {"ce", "kd"}


@pytest.mark.slow
def test_results_along_an_axis_are_followed_from_their_files(study):
    for label, kd_error in (("0.0", 0.1), ("0.1", 0.3), ("0.2", 0.5)):
        point = (("noise", label),)
        for seed in (1, 2, 3):
            study.run("ce", error=0.3, seed=seed, split="test-news", point=point)
            study.run("kd", error=kd_error, seed=seed, split="test-news", point=point)
        study.run("teacher", error=0.05, role="teacher", split="test-news", point=point)
    analysis = analyse(study.results, study=study.facts(axes={"noise": NUMBERS}))
    (found,) = analysis.alongs
    (pair,) = found.pairs
    assert pair.change.is_finding
    assert pair.crossing.is_finding
    assert found.lines["ce"][0].value == pytest.approx(analysis.tables[0].rows[1].bleu.mean)
    ((_, sentences),) = analysis.overview.axes
    assert "change places at 0." in sentences[0]


def test_places_of_a_logarithmic_axis_are_those_that_were_given():
    numbers = {"1000": 1000.0, "10000": 10000.0, "100000": 100000.0}
    worlds = Worlds()
    sampled = [
        worlds.samples({"ce": 20.0, "kd": 21.0}, point=(("pairs", label),)) for label in numbers
    ]
    (found,) = follow_axes(sampled, study=facts(axes={"pairs": numbers}))
    assert found.is_log
    assert tuple(at.place for at in found.pairs[0].levels) == found.places


def test_an_axis_without_a_method_at_all_levels_is_not_followed():
    worlds = Worlds()
    sampled = [
        worlds.samples({name: 20.0}, point=(("noise", label),))
        for name, label in (("ce", "0.0"), ("kd", "0.1"), ("ce", "0.2"))
    ]
    assert follow_axes(sampled, study=NOISE) == []


def test_a_combination_that_lacks_a_student_is_left_out_of_the_mean():
    cells = [(x, y) for x in range(3) for y in range(2)]
    sampled = grid(lambda x, y: x + 50 * y, cells)
    broken = sampled[1]  # x 0, y 1
    sampled[1] = replace(broken, cells={row: {1: runs[1]} for row, runs in broken.cells.items()})
    along_x, _ = follow_axes(sampled, study=axes("x", "y"))
    assert len(along_x.over) == 1
    assert advantages(along_x) == pytest.approx([0, 1, 2], abs=0.3)


def test_where_each_combination_lacks_a_student_the_mean_is_of_those_that_all_have():
    cells = [(x, y) for x in range(3) for y in range(2)]
    seeds_of = {"0": (1, 2, 3), "1": (2, 3, 4)}  # by y
    sampled = [
        replace(
            each,
            cells={
                row: dict(zip(seeds_of[each.table.point[1][1]], runs.values(), strict=True))
                for row, runs in each.cells.items()
            },
        )
        for each in grid(lambda x, y: x + 4 * y, cells)
    ]
    along_x, _ = follow_axes(sampled, study=axes("x", "y"))
    assert len(along_x.over) == 2
    assert advantages(along_x) == pytest.approx([2, 3, 4], abs=0.3)


def test_levels_of_the_same_trained_models_share_their_seeds():
    """As along `evaluation.length_penalty`: the noise of seeds does not blur the change."""
    worlds, seeds = Worlds(sd=0.2), (1, 2, 3)
    luck = {(name, seed): worlds.rng.normal(0, 3) for name in ("ce", "kd") for seed in seeds}
    sampled = []
    for label, at in NUMBERS.items():
        gains = {"ce": 0.0, "kd": 8 * at}
        cells = {
            ("tiny", name): {seed: worlds.score(20 + luck[name, seed] + gain) for seed in seeds}
            for name, gain in gains.items()
        }
        made = worlds.samples(gains, point=(("noise", label),))
        models = {row: {seed: f"{row[1]}-{seed}" for seed in seeds} for row in cells}
        sampled.append(Samples(made.table, made.metric, cells, models, made.teacher))
    (same,) = follow_axes(sampled, study=NOISE)
    others = [replace(each, models={("tiny", "ce"): {1: n}}) for n, each in enumerate(sampled)]
    (apart,) = follow_axes(others, study=NOISE)
    p_same, p_apart = (found.pairs[0].change.p_uncorrected for found in (same, apart))
    assert p_same < 0.05 < p_apart


def test_studies_and_signatures_are_followed_apart():
    numbers = {"0": 0.0, "1": 1.0, "2": 2.0}
    worlds = Worlds()
    sampled = [
        worlds.samples({"ce": 20.0, "kd": 21.0}, point=(("study", study), ("noise", label)))
        for study in ("one", "two")
        for label in numbers
    ]
    found = follow_axes(sampled, study=facts(axes={"study": None, "noise": numbers}))
    assert [each.split for each in found] == ["test-x of one", "test-x of two"]
    assert all(len(each.over) == 1 for each in found)
