"""What is drawn of a study: one look for a method, fronts, crossings, and a map of winners."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_tables import difference, row, table

from kdray.cell import Cell
from kdray.reporting.along import Along, At, ChangeOfPlaces, Pair
from kdray.reporting.charts.looks import BASELINE, TEACHER
from kdray.reporting.charts.spec import SMALL, WIDE, Axis, Chart, Panel
from kdray.reporting.figures.along import draw_along, shown_crossings
from kdray.reporting.figures.gate import draw_gates
from kdray.reporting.figures.learning import draw_learning
from kdray.reporting.figures.methods import looks_of_study
from kdray.reporting.figures.slices import draw_slices
from kdray.reporting.figures.trade import draw_trades
from kdray.reporting.figures.winners import winners_of
from kdray.reporting.pages import rows
from kdray.reporting.slices import Slice, Slices
from kdray.reporting.table import Spread
from kdray.reporting.verdict import Certainty, Verdict

METHODS = ("ce", "kd", "hybrid")
LOOKS = looks_of_study([Cell(name, "tiny", 1) for name in METHODS], baseline="ce")


def crossing(p, **changes):
    made = ChangeOfPlaces(at=(0.1,), low=0.05, high=None, is_empty=False, p_uncorrected=p, p=p)
    return replace(made, **changes)


def along(*pairs):
    lines = {name: (At(0.0, 30.0, 29.0, 31.0), At(0.2, 20.0, None, None)) for name in METHODS}
    return Along(
        axis="noise",
        split="test-x",
        labels=("none", "much"),
        places=(0.0, 0.2),
        is_log=False,
        over=("",),
        lines=lines,
        pairs=pairs,
    )


def verdict(point, size="tiny", *, chosen="kd", certainty=Certainty.OPEN):
    return Verdict(point, size, chosen, certainty, "headline", (), ())


def test_baseline_and_teacher_look_the_same_in_every_study():
    cells = [Cell("kd", "tiny", 1), Cell("ce", "tiny", 1), Cell.teacher(1), Cell("kd", "big", 2)]
    looks = looks_of_study(cells, baseline="ce")
    assert set(looks) == {"ce", "kd", "teacher"}
    assert (looks["ce"], looks["teacher"]) == (BASELINE, TEACHER)


def test_only_shown_crossings_are_marked_and_have_the_numbers_of_the_table():
    pairs = [
        Pair("ce", "kd", crossing=crossing(0.9)),
        Pair("ce", "hybrid", crossing=crossing(0.01)),
        Pair("kd", "hybrid", crossing=crossing(0.01, is_empty=True, at=())),
        Pair("kd", "hybrid", reason="two levels"),
    ]
    drawn = draw_along(along(*pairs), LOOKS)
    (mark,) = drawn.panels[0].marks
    assert (mark.at, mark.low, mark.high) == (0.1, 0.05, float("inf"))
    assert shown_crossings(along(*pairs)) == {("ce", "hybrid"): mark.sign}
    assert mark.told in drawn.caption
    assert drawn.x.ticks == ((0.0, "none"), (0.2, "much"))
    assert [line.name for line in drawn.panels[0].lines] == list(METHODS)


def test_trades_leave_out_costs_that_do_not_differ_or_are_not_known():
    rows = [
        row("ce", 30, tokens_per_second=5000.0, train_seconds=None),
        row("kd", 31, tokens_per_second=4000.0, train_seconds=None),
        row("hybrid", 29, tokens_per_second=3000.0, train_seconds=None),
        row("teacher", 35, role="teacher", tokens_per_second=None, train_seconds=None),
    ]
    looks = LOOKS | {"teacher": TEACHER}
    (speed,) = draw_trades(table("test-x", rows), looks)
    assert "Not measured: 1 of 4" in speed.caption
    (panel,) = speed.panels
    assert [(point.x, point.y) for point in panel.front] == [(4000, 31), (5000, 30)]
    assert {dot.name for dot in panel.dots} == set(METHODS)


def test_models_of_several_sizes_are_told_apart_by_name():
    rows = [row("ce", 30), row("ce", 33, size="big", num_params=9_000_000)]
    (size,) = draw_trades(table("test-x", rows), LOOKS)
    assert {dot.name for dot in size.panels[0].dots} == {"ce · tiny", "ce · big"}


def test_results_of_training_come_before_what_is_only_logged():
    rows = [{"step": step, "dev/bleu": 1.0, "train/loss": 0.1, "dev/loss": 1} for step in (1, 2)]
    curves = {
        Cell.teacher(1): rows,
        Cell("ce", "tiny", 1): rows,
        Cell("ce", "tiny", 2): rows,
        Cell("ce", "big", 1): [{"step": 1, "dev/bleu": float("nan")}, *rows],
    }
    learning, metrics = draw_learning(curves, LOOKS | {"teacher": TEACHER})
    assert [chart.y.label for chart in learning] == ["dev/bleu", "dev/loss"]
    assert [chart.y.label for chart in metrics] == ["train/loss"]
    assert [panel.title for panel in learning[0].panels] == ["tiny", "big", "teacher"]
    assert "Not drawn: 1 values" in learning[0].caption
    assert "mean over seeds" in learning[0].caption
    assert "compare shapes, not heights" in metrics[0].caption


def test_teachers_of_several_scenarios_are_no_seeds_of_each_other():
    point = (("noise", "0"),)
    teacher = Cell("teacher", "teacher", 1, role="teacher", point=point)
    curves = {teacher: [{"step": 1, "a/b": 1.0}], Cell.teacher(1): [{"step": 1, "a/b": 2.0}]}
    _, (chart,) = draw_learning(curves, {"teacher": TEACHER})
    assert len(chart.panels) == 2


def test_quarters_have_a_place_each_and_the_deviation_over_seeds():
    parts = tuple(
        Slice("length", n, 4.0 * n, 4.0 * n + 3, 30, {"ce": Spread(30 - n, 1.0)}) for n in (1, 2)
    )
    (chart,) = draw_slices(Slices("tiny", "test-x", parts), LOOKS)
    assert chart.x.ticks == ((1.0, "4–7"), (2.0, "8–11"))
    (line,) = chart.panels[0].lines
    assert [(p.y, p.low, p.high) for p in line.points] == [(29, 28, 30), (28, 27, 29)]


def test_one_scenario_needs_no_map():
    assert winners_of([verdict(())], [], main_beam=5) is None


def test_the_last_axis_that_varies_has_the_columns():
    noise = [(("noise", level), ("lang", "de")) for level in ("0", "1")]
    verdicts = [verdict(point, size) for point in noise for size in ("tiny", "big")]
    found = winners_of(verdicts, [], main_beam=5)
    assert (found.row_axes, found.column_axis, found.columns) == (
        ("noise",),
        "size",
        ("tiny", "big"),
    )
    assert [labels for labels, _ in found.rows] == [("0",), ("1",)]
    numbers = [[square.number for square in squares] for _, squares in found.rows]
    assert numbers == [[1, 2], [3, 4]]
    by_noise = winners_of([each for each in verdicts if each.size == "tiny"], [], main_beam=5)
    assert (by_noise.row_axes, by_noise.columns) == ((), ("0", "1"))


def test_a_scenario_that_is_missing_leaves_its_square_empty():
    verdicts = [verdict((("noise", "0"),)), verdict((("noise", "1"),), "big")]
    found = winners_of(verdicts, [], main_beam=5)
    assert [square is None for _, squares in found.rows for square in squares] == [
        *(False, True),
        *(True, False),
    ]


@pytest.mark.parametrize("certainty", list(Certainty))
def test_every_square_says_how_certain_it_is(certainty):
    point = (("noise", "0"),)
    told = [difference("kd", "ce", 0.5)]
    rows = [row("ce", 30), row("kd", 30.5)]
    tables = [table(split, rows, told, point=point) for split in ("dev", "test-x")]
    verdicts = [verdict(point, certainty=certainty), verdict((("noise", "1"),))]
    found = winners_of(verdicts, tables, main_beam=5)
    square = found.rows[0][1][0]
    assert square.sign
    assert certainty in found.certainties
    assert [(split, each.value) for split, each in square.tests] == [("test-x", 0.5)]


def gated(seed, point=()):
    bins = {f"train/gate/histogram/{b / 10:.1f}": 0.1 for b in range(10)}
    lengths = {"train/gate/by_length/01-08": 0.2 * seed, "train/gate/by_length/33-": 0.4}
    rows = [{"step": s, "train/gate/mean": s / 100, **bins, **lengths} for s in range(1, 21)]
    return {Cell("hybrid", "tiny", seed, point=point): rows}


def test_a_gate_is_drawn_by_length_as_histogram_and_in_each_scenario():
    curves = {Cell("ce", "tiny", 1): [{"step": 1, "dev/bleu": 1.0}]}
    assert draw_gates(curves, LOOKS) == []
    mean, by_length, histogram = draw_gates(curves | gated(1) | gated(2), LOOKS)
    assert [line.name for line in mean.panels[0].lines] == ["hybrid"]
    assert [name for _, name in by_length.x.ticks] == ["1–8", "33 or more"]
    first, last = by_length.panels[0].lines[0].points
    assert (first.y, first.low, first.high) == pytest.approx((0.3, 0.2, 0.4))
    assert (last.low, last.high) == (0.4, 0.4)
    assert sum(bar.height for bar in histogram.panels[0].bars) == pytest.approx(100)
    assert [bar.right for bar in histogram.panels[0].bars][-2:] == [0.9, 1.0]
    grid = gated(1, (("noise", "0"),)) | gated(1, (("noise", "1"),))
    *_, by_scenario = draw_gates(grid, LOOKS)
    (line,) = by_scenario.panels[0].lines
    assert [point.y for point in line.points] == [0.195, 0.195]  # of the last two rows of twenty


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from([WIDE, SMALL])), max_size=9))
def test_charts_of_one_panel_and_one_size_stand_in_rows(shapes):
    axis = Axis("a")
    charts = [
        Chart(str(number), "", "", axis, axis, [Panel()] * panels, size)
        for number, (panels, size) in enumerate(shapes)
    ]
    found = rows(charts)
    assert [chart for row in found for chart in row] == charts
    for group in found:
        assert len(group) == 1 or {(len(c.panels), c.size) for c in group} == {(1, group[0].size)}
