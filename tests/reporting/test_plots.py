"""Plots show every method in its own style, with labels that do not overlap."""

import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.cell import Cell
from kdray.reporting.plots import BASELINE_COLOR, draw_plots, method_styles, spread_apart
from kdray.reporting.table import build_tables


def curves_of(metric, methods=("ce", "kd"), sizes=("tiny",), seeds=(1, 2)):
    return {
        Cell(method, size, seed): [
            {"step": step, metric: place + seed + step} for step in (10, 20, 30)
        ]
        for size in sizes
        for place, method in enumerate(methods)
        for seed in seeds
    }


@pytest.fixture
def draw(study):
    def draw(folder, curves, tables=()):
        return draw_plots(folder, curves=curves, tables=tables, study=study.facts())

    return draw


def test_each_metric_is_a_png_and_an_svg(draw, tmp_path):
    curves = curves_of("gate/mean", methods=("kd",))
    plots = draw(tmp_path / "plots", {**curves, Cell.teacher(1): [{"step": 5, "dev/bleu": 1.0}]})
    assert [plot.title for plot in plots] == ["dev/bleu", "gate/mean"]
    for plot in plots:
        assert plot.png.read_bytes().startswith(b"\x89PNG")
        assert ElementTree.parse(plot.svg).getroot().tag.endswith("svg")
    files = {path.name for path in (tmp_path / "plots").iterdir()}
    assert files == {path.name for plot in plots for path in (plot.png, plot.svg)}
    assert "mean over seeds" in plots[1].caption
    assert "seed" not in plots[0].caption


@pytest.mark.slow
def test_every_method_is_labelled_in_its_one_colour(draw, tmp_path):
    (plot,) = draw(tmp_path, curves_of("train/loss", sizes=("tiny", "small", "big")))
    text = plot.svg.read_text(encoding="utf-8").lower()
    for label in ("<!-- ce -->", "<!-- kd -->", "<!-- tiny -->", "<!-- small -->", "<!-- big -->"):
        assert label in text
    styles = method_styles(["ce", "kd"], baseline="ce")
    assert all(style.color.lower() in text for style in styles.values())
    assert text.count("<!-- kd -->") == 3  # one in each size's panel, and no panel left empty
    assert text.count("<!-- updates -->") == 3
    assert "compare shapes, not heights" in plot.caption


def test_equal_input_gives_equal_bytes(draw, tmp_path):
    (one,), (other,) = (draw(tmp_path / name, curves_of("dev/bleu")) for name in "ab")
    assert one.svg.read_bytes() == other.svg.read_bytes()
    assert one.png.read_bytes() == other.png.read_bytes()


def test_pictures_of_an_earlier_report_do_not_stay(draw, tmp_path):
    plots = tmp_path / "plots"
    plots.mkdir()
    for name in ("01-dev-old.png", "01-dev-old.svg", "notes.txt"):
        (plots / name).write_bytes(b"old")
    assert draw(plots, {}) == []
    assert [path.name for path in plots.iterdir()] == ["notes.txt"]


def test_what_cannot_be_drawn_is_said(draw, tmp_path):
    curves = {
        Cell("a$b$", "tiny", 1): [
            {"step": 1, "dev/loss": 1.0},
            {"step": 2, "dev/loss": float("nan")},
        ]
    }
    (plot,) = draw(tmp_path, curves)
    assert "Not drawn: 1 values" in plot.caption


def test_quality_and_speed_of_each_split_at_the_main_beam(draw, study, tmp_path):
    study.run("ce", error=0.3)
    study.run("kd", error=0.1, decode_tokens_per_second=None)
    study.run("ce", error=0.3, beam=1)
    study.run("teacher", error=0.05, role="teacher", size="base")
    study.run("ce", error=0.3, split="test-news", decode_tokens_per_second=None)
    plots = draw(tmp_path / "plots", {}, build_tables(study.results, study=study.facts()))
    assert [plot.title for plot in plots] == ["Quality and speed, dev, beam 5"]
    text = plots[0].svg.read_text(encoding="utf-8")
    assert "<!-- teacher -->" in text
    assert "<!-- ce -->" in text
    assert "<!-- kd -->" not in text
    assert "for want of a measured speed: 1 of 3" in plots[0].caption


def test_styles_differ_between_methods_and_do_not_depend_on_their_company():
    many = [f"m{place}" for place in range(24)]
    styles = method_styles(many, baseline="ce")
    assert len(set(styles.values())) == 25
    assert styles["ce"].color == BASELINE_COLOR
    assert all(style.color != BASELINE_COLOR for name, style in styles.items() if name != "ce")
    assert method_styles([*many[:3], *many], baseline="ce") == styles


heights = st.lists(st.floats(0, 1), min_size=1, max_size=12).map(sorted)


@given(heights, st.floats(0.01, 0.3))
def test_labels_are_moved_apart_in_their_order(ascending, gap):
    moved = spread_apart(ascending, gap)
    assert len(moved) == len(ascending)
    assert all(after - before >= gap - 1e-9 for before, after in pairwise(moved))
    assert sum(moved) == pytest.approx(sum(ascending), abs=1e-9)


@given(heights)
def test_labels_that_have_room_stay(ascending):
    spaced = [place * 2 + height for place, height in enumerate(ascending)]
    assert spread_apart(spaced, 0.5) == pytest.approx(spaced)
