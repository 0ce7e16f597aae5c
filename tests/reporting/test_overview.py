"""The overview counts what the verdicts say, and tells of axes what is shown and no more."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_tables import facts

from kdray.reporting.along import Along, At, Change, ChangeOfPlaces, Pair
from kdray.reporting.overview import overview_of
from kdray.reporting.verdict import Certainty, Verdict

points, chances = st.floats(-9, 9), st.sampled_from([None, 0.0, 0.04, 0.05, 0.6])
PLACES = (1.0, 2.0, 3.0)


def verdict(chosen, certainty, size="tiny"):
    return Verdict((), size, chosen, certainty, f"Headline of {size}.", (), ())


def an_along(*pairs, over=("",)):
    return Along("noise", "test-x", ("1", "2", "3"), PLACES, False, over, {}, pairs)


def overview(*verdicts, alongs=(), num_tests=0):
    return overview_of(verdicts, alongs, study=facts(), num_tests=num_tests)


def test_one_scenario_speaks_for_itself_and_none_says_so():
    alone = overview(verdict("a", Certainty.OPEN))
    assert (alone.headline, alone.sentences) == ("Headline of tiny.", ())
    assert "no verdict" in overview().headline


def test_several_scenarios_are_counted_by_choice_and_by_what_is_shown():
    told = overview(
        verdict("a", Certainty.BEATS_ALL, "one"),
        verdict("b", Certainty.OPEN, "two"),
        verdict("a", Certainty.OPEN, "three"),
        verdict(None, Certainty.UNTESTED, "four"),
    )
    assert told.headline == "Dev chooses a in 2 of 4 and b in 1 of 4 scenarios."
    assert told.sentences == (
        "In 1 of 4 (a 1×) the tests show that it beats every other method.",
        "In 2 of 4 (b 1× and a 1×) the tests do not show that it beats the baseline.",
        "In 1 of 4 (none 1×) nothing could be tested.",
    )
    none = overview(*[verdict(None, Certainty.UNTESTED, size) for size in ("one", "two")])
    assert none.headline.startswith("Dev chooses no method")


def test_how_to_read_names_the_budget_and_the_correction():
    reading = " ".join(overview(num_tests=17).reading)
    assert "compared at equal numbers of updates" in reading
    assert "Holm for the 17 comparisons" in reading
    assert "Kocmi et al. (2024)" in reading
    assert "Holm" not in " ".join(overview().reading)


def test_untested_pairs_have_their_reason_once():
    pairs = [Pair("a", other, reason="2 levels are too few") for other in ("b", "c")]
    ((_, told),) = overview(alongs=[an_along(*pairs)]).axes
    assert told == ("Not tested: 2 levels are too few.",)
    ((_, told),) = overview(alongs=[an_along(*pairs, Pair("b", "c"))]).axes
    assert told == (
        "No change and no crossing is shown between b and c.",
        "Not tested (a and b; a and c): 2 levels are too few.",
    )


@st.composite
def pairs(draw):
    """A pair of methods along an axis, whatever was found of it."""
    change = Change(*(draw(points) for _ in range(4)), p_uncorrected=0.0, p=draw(chances))
    crossing = ChangeOfPlaces(
        at=(1.5,),
        low=draw(st.none() | points),
        high=draw(st.none() | points),
        is_empty=draw(st.booleans()),
        p_uncorrected=0.0,
        p=draw(chances),
        p_kept=draw(chances),
    )
    value = draw(points)
    return Pair(
        method="a",
        other="b",
        levels=tuple(At(place, value, None, None) for place in PLACES),
        change=draw(st.sampled_from([None, change])),
        crossing=draw(st.sampled_from([None, crossing])),
    )


def is_below_level(p):
    return p is not None and p < 0.05


@pytest.mark.slow
@given(pairs())
def test_what_is_told_of_an_axis_is_a_finding_and_every_finding_is_told(pair):
    ((_, told),) = overview(alongs=[an_along(pair)]).axes
    (text,) = told
    change, crossing = pair.change, pair.crossing
    changes = change is not None and is_below_level(change.p)
    crosses = crossing is not None and not crossing.is_empty and is_below_level(crossing.p)
    keeps = crossing is not None and crossing.is_empty and is_below_level(crossing.p_kept)
    ahead_of = "b over a" if change is not None and change.points < 0 else "a over b"
    assert (f"The advantage of {ahead_of} grows by" in text) is changes
    assert bool(re.search(r"change places at 1.5 \[", text)) is crosses
    ahead = "a is ahead of b" if pair.levels[0].value > 0 else "b is ahead of a"
    assert (f"{ahead} all along" in text) is keeps
    assert text.count("ahead") == keeps
    assert ("No change and no crossing is shown" in text) is not (changes or crosses or keeps)


def test_the_ends_of_the_axis_stand_for_bounds_that_are_not_there():
    crossing = ChangeOfPlaces((1.5,), None, None, is_empty=False, p_uncorrected=0.0, p=0.01)
    ((_, (told,)),) = overview(alongs=[an_along(Pair("a", "b", crossing=crossing))]).axes
    assert told == (
        "a and b change places at 1.5 [below the lowest level to above the highest level] "
        "(p 0.010)."
    )
