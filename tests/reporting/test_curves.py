"""The curves of runs are joined by method, size and length, and every value is accounted for."""

import math

from kdray.cell import Cell
from kdray.reporting.curves import count_not_finite, metric_names, series_of


def run(method, seed, size="tiny"):
    return Cell(method, size, seed)


def rows(metric, points):
    return [{"step": step, "time": 1e9, metric: value} for step, value in points.items()]


def test_cells_read_as_a_person_names_them():
    assert str(Cell("ce", "tiny", 1)) == "tiny/ce/seed-1"
    assert str(Cell("ce", "tiny", 1, 400)) == "tiny/ce/seed-1/updates-400"
    assert str(Cell.teacher(1)) == "teacher"
    assert str(Cell.teacher(1, number=2)) == "teacher-2"
    assert Cell("teacher", "teacher", 1) != Cell.teacher(1), "a student may be called so"


def test_the_line_is_the_mean_over_seeds_and_the_band_their_range():
    curves = {
        run("ce", 1): rows("dev/bleu", {10: 1.0, 20: 4.0}),
        run("ce", 2): rows("dev/bleu", {10: 2.0, 20: 8.0}),
    }
    (series,) = series_of(curves, "dev/bleu")
    assert (series.method, series.size, series.num_seeds) == ("ce", "tiny", 2)
    assert series.steps == (10, 20)
    assert series.mean == (1.5, 6.0)
    assert (series.low, series.high) == ((1.0, 4.0), (2.0, 8.0))
    assert series.alone == ()


def test_a_seed_that_ended_early_neither_bends_the_mean_nor_hides_the_others():
    curves = {
        run("ce", 1): rows("dev/bleu", {10: 1.0}),
        run("ce", 2): rows("dev/bleu", {10: 3.0, 20: 9.0}),
    }
    (series,) = series_of(curves, "dev/bleu")
    assert series.steps == (10,)
    assert series.mean == (2.0,)
    assert series.alone == (((10, 20), (3.0, 9.0)),)


def test_methods_and_sizes_and_other_runs_are_kept_apart():
    curves = {
        run("ce", 1): rows("dev/bleu", {10: 1.0}),
        run("ce", 1, size="small"): rows("dev/bleu", {10: 2.0}),
        run("kd", 1): rows("dev/bleu", {10: 3.0}),
        Cell.teacher(1): rows("dev/bleu", {10: 4.0}),
        run("kd", 2): rows("dev/loss", {10: 5.0}),
    }
    means = [(series.size, series.method, series.mean) for series in series_of(curves, "dev/bleu")]
    assert means == [
        ("tiny", "ce", (1.0,)),
        ("small", "ce", (2.0,)),
        ("tiny", "kd", (3.0,)),
        ("teacher", "teacher", (4.0,)),
    ]


def test_lengths_are_kept_apart():
    curves = {
        Cell("ce", "tiny", 1, length): rows("dev/bleu", {length: float(length)})
        for length in (400, 800)
    }
    steps = [(series.size, series.steps) for series in series_of(curves, "dev/bleu")]
    assert steps == [("tiny, 400 updates", (400,)), ("tiny, 800 updates", (800,))]


def test_the_later_of_two_rows_with_one_step_counts():
    curves = {run("ce", 1): [{"step": 10, "a/b": 1.0}, {"step": 10, "a/b": 2.0}]}
    assert series_of(curves, "a/b")[0].mean == (2.0,)


def test_values_that_cannot_be_drawn_are_counted():
    curves = {run("ce", 1): rows("a/b", {1: math.nan, 2: 2.0, 3: math.inf})}
    assert series_of(curves, "a/b")[0].steps == (2,)
    assert count_not_finite(curves, "a/b") == 2


def test_metrics_come_in_the_order_a_reader_wants_without_step_and_time():
    curves = {
        run("ce", 1): [{"step": 1, "time": 1.0, "train/loss": 1, "a/z": 1}],
        run("kd", 1): [{"step": 1, "train/gate/mean": 1, "dev/bleu": 1, "a/b": 1}],
    }
    assert metric_names(curves) == ["dev/bleu", "train/loss", "train/gate/mean", "a/b", "a/z"]
