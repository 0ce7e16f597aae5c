"""Charts: ticks cover the data, names never overlap, every point is drawn, all text is escaped."""

import math
import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.reporting.charts.draw import SVG, draw_file, draw_panels, swatch
from kdray.reporting.charts.frame import frame_of
from kdray.reporting.charts.labels import Box, place_beside, shortened, spread_apart, width_of
from kdray.reporting.charts.looks import BASELINE, NUM_COLORS, looks_of
from kdray.reporting.charts.scale import even_ticks, log_ticks, scale_of, shown
from kdray.reporting.charts.spec import (
    Axis,
    Bar,
    Chart,
    Dot,
    Line,
    Mark,
    Panel,
    Point,
    pareto,
)
from kdray.reporting.charts.thin import thinned

EVIL = '<script>alert("1")</script>\x00&'
values = st.floats(-1e6, 1e6)
positive = st.floats(1e-3, 1e9)


def chart(*panels, x=Axis("updates"), y=Axis("BLEU")):
    return Chart("name", "A title", "A caption.", x, y, panels)


def line(name="ce", points=((1, 2), (2, 3)), **other):
    return Line(name, BASELINE, [Point(*point) for point in points], **other)


def elements(drawn, tag, class_=None):
    """Elements of a panel, or of a file, by tag and class."""
    root = ElementTree.fromstring(str(drawn))
    return [
        element
        for element in root.iter()
        if element.tag.removeprefix(f"{{{SVG}}}") == tag
        and (class_ is None or class_ in element.get("class", "").split())
    ]


def texts(drawn, class_):
    return [element.text for element in elements(drawn, "text", class_)]


@given(values, values)
def test_even_ticks_cover_the_data_at_equal_distances(one, other):
    low, high = sorted((one, other))
    if high - low < 1e-3:
        high = low + 1
    ticks = even_ticks(low, high)
    places = [place for place, _ in ticks]
    slack = 1e-6 * (high - low)
    assert places[0] <= low + slack
    assert places[-1] >= high - slack
    assert 2 <= len(places) <= 9
    steps = [after - before for before, after in pairwise(places)]
    assert max(steps) == pytest.approx(min(steps))
    assert len({name for _, name in ticks}) == len(ticks)


@given(positive, positive)
def test_log_ticks_cover_the_data_and_are_few(one, other):
    low, high = sorted((one, other * 1.1))
    places = [place for place, _ in log_ticks(low, high)]
    assert places[0] <= low * 1.001
    assert places[-1] >= high * 0.999
    assert 2 <= len(places) <= 13


@pytest.mark.slow
@given(st.lists(values, min_size=1, max_size=20), st.booleans())
def test_every_value_lies_within_the_scale_and_in_its_order(data, from_zero):
    scale = scale_of(data, Axis("x", from_zero=from_zero), start=300.0, end=20.0)
    pixels = [scale(value) for value in sorted(data)]
    assert all(19.9 <= pixel <= 300.1 for pixel in pixels)
    assert pixels == sorted(pixels, reverse=True)
    assert not from_zero or 19.9 <= scale(0) <= 300.1


def test_ticks_are_written_with_the_decimals_of_their_step():
    assert [name for _, name in even_ticks(0, 1)] == ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [name for _, name in even_ticks(-1, 1, 3)] == ["−1", "0", "1"]
    assert [name for _, name in even_ticks(0, 20_000, 3)] == ["0", "10 k", "20 k"]
    assert [name for _, name in log_ticks(1000, 1e6)] == [
        *("1 k", "2 k", "5 k", "10 k", "20 k", "50 k", "100 k", "200 k", "500 k", "1 M"),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-1.5, "−1.500"),
        (7.0, "7"),
        (31.2449, "31.24"),
        (12_345_678, "12.35 M"),
        (1e-5, "1e−05"),
    ],
)
def test_values_are_told_in_four_digits(value, text):
    assert shown(value) == text


def test_a_logarithmic_axis_refuses_what_is_not_above_zero():
    with pytest.raises(ValueError, match="size: 0 has no place"):
        scale_of([0.0, 1.0], Axis("size", is_log=True), start=0, end=1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(bad):
    for make in (
        lambda: Point(1, bad),
        lambda: Point(1, 2, bad, 3),
        lambda: Bar(0, 1, bad),
        lambda: Mark(bad, 0, 1, "1", "x"),
    ):
        with pytest.raises(ValueError, match="cannot be drawn"):
            make()
    with pytest.raises(ValueError, match="NaN"):
        Mark(1, math.nan, 1, "1", "x")


heights = st.lists(st.floats(0, 1), min_size=1, max_size=12).map(sorted)


@pytest.mark.slow
@given(heights, st.floats(0.01, 0.3))
def test_names_are_moved_apart_in_their_order(ascending, gap):
    moved = spread_apart(ascending, gap)
    assert len(moved) == len(ascending)
    assert all(after - before >= gap - 1e-9 for before, after in pairwise(moved))
    assert sum(moved) == pytest.approx(sum(ascending), abs=1e-9)


@pytest.mark.slow
@given(heights)
def test_names_stay_inside_if_there_is_room(ascending):
    moved = spread_apart(ascending, 0.05, low=0, high=1)
    assert all(after - before >= 0.05 - 1e-9 for before, after in pairwise(moved))
    assert moved[0] >= 0
    assert moved[-1] <= 1 + 1e-9


@pytest.mark.slow
@given(heights)
def test_names_that_have_room_stay(ascending):
    spaced = [place * 2 + height for place, height in enumerate(ascending)]
    assert spread_apart(spaced, 0.5) == pytest.approx(spaced)


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(st.floats(0, 300), st.floats(0, 200), st.text("abM", max_size=12)), max_size=12
    )
)
def test_names_beside_dots_lie_inside_and_on_no_other_name(points):
    frame = Box(0, 0, 300, 200)
    boxes = [box for box in place_beside(points, frame=frame) if box is not None]
    assert all(map(frame.holds, boxes))
    assert not any(one.meets(other) for one, other in combinations(boxes, 2))


@pytest.mark.slow
@given(st.text(max_size=40), st.floats(20, 200))
def test_a_long_name_is_cut_where_it_has_no_room(text, most):
    assert width_of(shortened(text, most)) <= most
    assert shortened(text, 1000) == text


def test_looks_differ_between_methods_and_do_not_depend_on_their_company():
    many = [f"m{place}" for place in range(24)]
    looks = looks_of(many, baseline="ce")
    assert len(set(looks.values())) == 25
    assert looks["ce"] == BASELINE
    assert all(look.color != BASELINE.color for name, look in looks.items() if name != "ce")
    assert looks_of([*many[:3], *many], baseline="ce") == looks
    first = list(looks.values())[: NUM_COLORS + 1]
    assert len({look.color for look in first}) == NUM_COLORS + 1


def test_every_line_point_and_name_is_drawn():
    lines = [line(f"method {n}", [(x, x * n) for x in range(1, 6)]) for n in range(1, 4)]
    (panel,) = draw_panels(chart(Panel("tiny", lines)))
    assert len(elements(panel, "path", "line")) == 3
    assert len(elements(panel, "path", "dot")) == 15
    assert texts(panel, "label") == ["method 3", "method 2", "method 1"]  # from the top
    told = [element.text for element in elements(panel, "title")]
    assert len(told) == 5
    assert told[1].splitlines() == ["updates: 2", "6  method 3", "4  method 2", "2  method 1"]


def test_names_at_line_ends_never_overlap_and_make_room_for_themselves():
    lines = [line(f"method {n}", [(1, 1), (2, 2 + n / 1e6)]) for n in range(40)]
    (panel,) = draw_panels(chart(Panel("", lines)))
    ys = [float(element.get("y")) for element in elements(panel, "text", "label")]
    assert len(ys) == 40
    assert all(after - before >= 13.8 for before, after in pairwise(ys))  # rounded to 0.1
    height = float(panel.split('viewBox="')[1].split('"')[0].split()[3])
    assert ys[0] > 0
    assert ys[-1] < height


def test_names_of_levels_that_would_overlap_are_left_out_but_told():
    ticks = tuple((float(n), f"a long name of level {n}") for n in range(20))
    drawn = chart(Panel(lines=[line(points=[(n, 1) for n, _ in ticks])]), x=Axis("l", ticks=ticks))
    (panel,) = draw_panels(drawn)
    assert 1 < len([t for t in texts(panel, "tick") if t.startswith("a long")]) < 20
    assert "a long name of level 13" in panel


def test_bands_whiskers_single_seeds_and_bars_have_their_elements():
    spread = [(1, 2, 1.5, 2.5), (2, 3, 2.5, 3.5)]
    single = [Point(1, 2), Point(3, 4)]
    lines = [line("band", spread, singles=[single]), line("strokes", spread, whiskers=True)]
    bars = [Bar(0, 1, 3), Bar(1, 2, 4)]
    (panel,) = draw_panels(chart(Panel(lines=lines, bars=bars)))
    counts = {"band": 1, "whisker": 2, "thin": 1, "line": 2}
    assert {name: len(elements(panel, "path", name)) for name in counts} == counts
    assert len(elements(panel, "rect", "bar")) == 2
    assert "2 (1.500 to 2.500)" in panel


def test_a_mark_shows_its_interval_as_far_as_the_frame_reaches():
    drawn = chart(Panel(lines=[line()], marks=[Mark(1.5, -math.inf, 1.75, "1", "they cross")]))
    (panel,) = draw_panels(drawn)
    (shade,) = elements(panel, "rect", "shade")
    frame = frame_of(drawn)
    assert float(shade.get("x")) == pytest.approx(frame.left, abs=0.1)
    assert float(shade.get("x")) + float(shade.get("width")) == pytest.approx(
        frame.x(1.75), abs=0.11
    )
    assert "they cross" in [element.text for element in elements(panel, "title")]


def test_dots_tell_their_numbers_but_those_of_a_cloud_are_one_mass():
    dots = [Dot("kd", BASELINE, Point(1, 2, 1.9, 2.1)), Dot("", BASELINE, Point(2, 2), scale=0.4)]
    (panel,) = draw_panels(chart(Panel(dots=dots)))
    assert [element.text for element in elements(panel, "title")] == ["kd\n2 (1.900 to 2.100)"]
    assert len(elements(panel, "path", "cloud")) == 1


points = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12)


@pytest.mark.slow
@given(points, st.booleans())
def test_no_dot_of_the_front_is_beaten_and_every_other_one_is(places, less_is_better):
    dots = [Dot(str(number), BASELINE, Point(*place)) for number, place in enumerate(places)]
    sign = -1 if less_is_better else 1

    def beats(one, other):
        gains = (sign * (one.at.x - other.at.x), one.at.y - other.at.y)
        return min(gains) >= 0 and max(gains) > 0

    front = pareto(dots, less_is_better=less_is_better)
    assert front
    for dot in dots:
        beaten = any(beats(other, dot) for other in dots)
        twin = any(other.at == dot.at for other in front)
        assert beaten != twin


@pytest.mark.slow
@given(st.integers(0, 500))
def test_thinning_keeps_ends_and_peaks(peak):
    curve = [Point(x, 100.0 if x == peak else math.sin(x / 40)) for x in range(501)]
    kept = thinned(curve, 160)
    assert len(kept) == 160
    assert (kept[0], kept[-1]) == (curve[0], curve[-1])
    assert curve[peak] in kept
    assert [point.x for point in kept] == sorted({point.x for point in kept})
    assert thinned(curve[:160], 160) == curve[:160]


def test_panels_of_a_chart_have_one_scale():
    small, large = (
        Panel(name, [line(points=[(1, 1), (2, y)])]) for name, y in (("a", 2), ("b", 9))
    )
    both = draw_panels(chart(small, large))
    assert texts(both[0], "tick") == texts(both[1], "tick")
    assert texts(both[0], "title") == ["a"]


def test_all_text_is_escaped_and_what_xml_forbids_is_replaced():
    lines = [line(EVIL)]
    marks = [Mark(1, 1, 2, "<", EVIL)]
    evil = Chart(EVIL, EVIL, EVIL, Axis(EVIL), Axis(EVIL), [Panel(EVIL, lines, marks=marks)])
    for drawn in (*draw_panels(evil), draw_file(evil)):
        assert "<script" not in drawn
        assert "alert(" in drawn
        ElementTree.fromstring(str(drawn))


def test_equal_input_gives_equal_bytes_without_needless_digits():
    drawn = chart(Panel("t", [line(points=[(x, 1 / (x + 1)) for x in range(30)])]))
    assert draw_file(drawn) == draw_file(drawn)
    places = re.findall(r' (?:d|x|y)="([^"]*)"', draw_file(drawn))
    assert not re.search(r"\d\.\d\d", " ".join(places))


def test_a_file_stands_alone_and_a_panel_is_an_image_with_a_description():
    drawn = chart(Panel("one", [line("ce")]), Panel("two", [line("kd")]))
    file = draw_file(drawn)
    root = ElementTree.fromstring(file)
    assert root.get("role") == "img"
    assert "A title. A caption." in root.get("aria-label")
    assert "prefers-color-scheme: dark" in file
    assert "url(" not in file
    for panel, said in zip(draw_panels(drawn), ("one", "two"), strict=True):
        root = ElementTree.fromstring(str(panel))
        assert root.get("aria-label").startswith(f"A title. {said}. BLEU by updates.")
        assert root.get("width") is None  # the page scales it


def test_a_chart_without_data_has_a_frame():
    (panel,) = draw_panels(chart(Panel("empty")))
    assert texts(panel, "tick")
    assert 'class="swatch ink"' in swatch(BASELINE)
