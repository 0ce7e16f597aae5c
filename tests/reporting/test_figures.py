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
from kdray.reporting.figures.gate import draw_gate, draw_gates_by_scenario
from kdray.reporting.figures.learning import draw_learning
from kdray.reporting.figures.methods import looks_of_study
from kdray.reporting.figures.slices import draw_slices
from kdray.reporting.figures.trade import draw_trades
from kdray.reporting.figures.winners import winners_of
from kdray.reporting.gates import GateReadings
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


@pytest.mark.parametrize(
    ("seconds", "label", "place"),
    [
        (7200, "training time (h)", 2),
        (90, "training time (min)", 1.5),
        (0.5, "training time (s)", 0.5),
    ],
)
def test_training_time_has_the_unit_of_the_longest(seconds, label, place):
    rows = [row("ce", 30, train_seconds=seconds / 2), row("kd", 31, train_seconds=seconds)]
    (training,) = draw_trades(table("test-x", rows), LOOKS)
    assert training.x.label == label
    assert max(dot.at.x for dot in training.panels[0].dots) == place


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
    assert [chart.title for chart in learning] == [
        "dev/bleu by update.",
        "dev/bleu of the teacher by update.",
        "dev/loss by update.",
        "dev/loss of the teacher by update.",
    ]
    assert {chart.y.label for chart in metrics} == {"train/loss"}
    assert [panel.title for panel in learning[0].panels] == ["tiny", "big"]
    assert [panel.title for panel in learning[1].panels] == ["teacher"]
    assert "Not drawn: 1 values" in learning[0].caption
    assert "mean over seeds" in learning[0].caption
    assert "compare shapes, not heights" in metrics[0].caption


def test_teachers_of_several_scenarios_are_no_seeds_of_each_other():
    point = (("noise", "0"),)
    teacher = Cell("teacher", "teacher", 1, role="teacher", point=point)
    one, two = ([{"step": step, "a/b": value} for step in (1, 2)] for value in (1.0, 2.0))
    looks = {"teacher": TEACHER}
    _, (chart,) = draw_learning({teacher: one, Cell.teacher(1): two}, looks)
    assert len(chart.panels) == 2
    _, (shared,) = draw_learning({teacher: one, Cell.teacher(1): one}, looks)
    assert [panel.title for panel in shared.panels] == ["teacher"]


def test_what_was_logged_once_is_no_curve():
    once = [{"step": 1, "dev/bleu": 1.0, "train/loss": 1.0}, {"step": 2, "train/loss": 0.5}]
    learning, metrics = draw_learning({Cell("ce", "tiny", 1): once}, LOOKS)
    assert not learning
    assert [chart.y.label for chart in metrics] == ["train/loss"]


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
        "student size",
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


def readings(gates, *, point=(), correlation=-0.5):
    rows = [(number % 9 + 1, number / 10, gate) for number, gate in enumerate(gates)]
    mean, cell = sum(gates) / len(gates), Cell("hybrid", "tiny", 1, point=point)
    return GateReadings(cell, 2, rows, mean, 0.1, dict.fromkeys(("length", "entropy"), correlation))


@pytest.mark.slow
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_a_gate_is_drawn_by_length_by_entropy_and_as_a_histogram(gates):
    length, entropy, histogram = draw_gate(readings(gates), LOOKS)
    for chart in (length, entropy):
        (panel,) = chart.panels
        assert [dot.at.y for dot in panel.dots] == gates
        assert min(gates) <= min(p.y for p in panel.lines[0].points) + 1e-9
        assert "−0.50" in chart.caption
    bars = histogram.panels[0].bars
    assert sum(bar.height for bar in bars) == pytest.approx(100)
    assert (bars[0].left, bars[-1].right) == (0, 1)
    assert "2 pairs are left out" in histogram.caption


def test_a_gate_that_treats_all_alike_has_no_correlation():
    length, *_ = draw_gate(readings([0.5, 0.5], correlation=None), LOOKS)
    assert "No rank correlation" in length.caption


def test_gates_of_several_scenarios_stand_beside_each_other():
    assert draw_gates_by_scenario([readings([0.5])], LOOKS) is None
    grid = [readings([gate], point=(("noise", str(gate)),)) for gate in (0.25, 0.75)]
    drawn = draw_gates_by_scenario(grid, LOOKS)
    (line,) = drawn.panels[0].lines
    assert [(point.x, point.y) for point in line.points] == [(0, 0.25), (1, 0.75)]
    assert [name for _, name in drawn.x.ticks] == ["noise 0.25", "noise 0.75"]


@pytest.mark.slow
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
