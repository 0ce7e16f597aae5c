"""A table holds only what can be compared, and refuses what does not belong together."""

import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from made_tables import sentences

from kdray.condition import Condition
from kdray.errors import DataError
from kdray.reporting.analysis import analyse
from kdray.reporting.build_tables import build_tables
from kdray.reporting.difference import Finding
from kdray.scoring.result import Score
from kdray.text.prefix import split_references


def tables_of(study, **changes):
    return analyse(study.results, study=study.facts(**changes)).tables


def the_table(study, **changes):
    (table,) = tables_of(study, **changes)
    return table


def test_a_row_is_a_mean_over_seeds_with_their_deviation(study):
    runs = [study.run("ce", error=error, seed=seed) for seed, error in ((1, 0.2), (2, 0.3))]
    ce = the_table(study).row("tiny", "ce")
    assert ce.bleu.mean == pytest.approx(statistics.fmean(run.bleu for run in runs))
    assert ce.bleu.sd == pytest.approx(statistics.stdev(run.bleu for run in runs))
    assert ce.chrf.sd == pytest.approx(statistics.stdev(run.chrf for run in runs))
    assert ce.seeds == (1, 2)
    assert ce.is_baseline


def test_one_seed_has_no_deviation(study):
    study.run("ce", error=0.2)
    assert the_table(study).row("tiny", "ce").bleu.sd is None


def test_what_no_seed_measured_is_unknown_not_zero(study):
    study.run("ce", error=0.4, seed=1, decode_tokens_per_second=None, target_tokens=None)
    study.run("ce", error=0.4, seed=2, decode_tokens_per_second=70.0, target_tokens=None)
    ce = the_table(study).row("tiny", "ce")
    assert ce.tokens_per_second == 70
    assert ce.target_tokens is None


@pytest.mark.slow
def test_the_teacher_stands_first_and_the_baseline_before_the_others(study):
    for size in ("tiny", "small"):
        for method in ("hybrid", "ce", "sentence"):
            study.run(method, error=0.2, size=size)
    study.run("teacher", error=0.1, role="teacher", size="base")
    table = the_table(study)
    assert [(row.cell.size, row.method) for row in table.rows] == [
        ("base", "teacher"),
        ("tiny", "ce"),
        ("tiny", "hybrid"),
        ("tiny", "sentence"),
        ("small", "ce"),
        ("small", "hybrid"),
        ("small", "sentence"),
    ]
    assert table.teacher == table.rows[0]
    assert [table.to_baseline(row) for row in table.rows if row.is_teacher or row.is_baseline] == [
        None, None, None,
    ]  # fmt: skip


@pytest.mark.slow
def test_methods_are_compared_at_equal_size_and_length(study):
    errors = {(400, "ce"): 0.4, (400, "hybrid"): 0.3, (800, "ce"): 0.2, (800, "hybrid"): 0.1}
    for (length, method), error in errors.items():
        for seed in (1, 2):
            study.run(method, error=error, seed=seed, length=length, split="test-news")
    study.run("hybrid", error=0.1, length=1600, split="test-news")
    analysis = analyse(study.results, study=study.facts())
    (table,) = analysis.tables
    shown = [(row.cell.length, row.method) for row in table.rows]
    assert shown == [*errors, (1600, "hybrid")]
    for ce, hybrid in (table.rows[:2], table.rows[2:4]):
        value = table.to_baseline(hybrid).value
        assert value == pytest.approx(hybrid.bleu.mean - ce.bleu.mean)
    assert table.to_baseline(table.rows[4]) is None
    assert "There is no ce of tiny, 1600 updates, so no difference to it." in table.notes
    assert "hybrid (tiny, 1600 updates) has seeds 1 alone, where others have 2." in table.notes
    assert [verdict.size for verdict in analysis.verdicts] == [
        "tiny, 400 updates", "tiny, 800 updates", "tiny, 1600 updates",
    ]  # fmt: skip


@pytest.mark.slow
def test_points_splits_beams_and_signatures_never_share_a_table(study):
    for point in ((), (("noise", "0.1"),)):
        study.run("ce", error=0.4, split="test-news", point=point)
        study.run("ce", error=0.4, point=point)
        study.run("ce", error=0.4, beam=1, point=point)
        study.run("ce", error=0.4, tokenize="char", point=point)
    shown = [
        (table.point, table.split, table.beam, "tok:char" in table.signatures["bleu"])
        for table in tables_of(study)
    ]
    assert shown == [
        (point, *rest)
        for point in ((), (("noise", "0.1"),))
        for rest in (
            ("dev", 5, False),
            ("dev", 5, True),
            ("dev", 1, False),
            ("test-news", 5, False),
        )
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("segments", "tested"), [(1, False), (29, False), (30, True)])
def test_differences_on_few_segments_are_untested(study, segments, tested):
    study.refs = {"test-news": sentences(segments, seed=2)}
    for seed in (1, 2, 3):
        study.run("ce", error=0.6, seed=seed, split="test-news")
        study.run("better", error=0.1, seed=seed, split="test-news")
    table = the_table(study)
    found = table.difference("tiny", "better", "ce")
    assert found.finding is (Finding.SIGNIFICANT if tested else Finding.UNTESTED)
    assert found.value > 0
    told = f"{segments} segments are too few to test differences on"
    assert any(note.startswith(told) for note in table.notes) != tested
    assert bool(found.reason) != tested


def test_a_prefix_has_the_rests_of_the_references_for_references(study):
    short = ["ban"] * 5  # nothing of them is left after a half
    study.refs = {"test-news": [*short, *sentences(40, seed=2)]}
    assert len(split_references(study.refs["test-news"], 0.5)) == 40
    for seed in (1, 2):
        for method, error in (("ce", 0.4), ("good", 0.1)):
            condition = Condition.of_prefix(0.5)
            study.run(method, error=error, seed=seed, condition=condition, split="test-news")
    table = the_table(study)
    assert (table.title, table.beam) == ("test-news, prefix 0.5", None)
    assert table.num_segments == 40
    assert table.difference("tiny", "good", "ce").p is not None


def test_counts_of_something_else_are_found(study):
    study.run("ce", error=0.4)
    of_hybrid = study.run("hybrid", error=0.1).scores["bleu"].segments_path
    scores = study.results[0].scores
    scores["bleu"] = replace(scores["bleu"], segments_path=of_hybrid)
    with pytest.raises(DataError, match=r"1\.npz: gives bleu .* but the result of student ce/tiny"):
        the_table(study)


def test_files_that_are_damaged_missing_or_of_other_segments_are_named(study):
    study.run("ce", error=0.4)
    path = Path(study.run("hybrid", error=0.1).scores["bleu"].segments_path)
    with pytest.raises(DataError, match=r"0\.npz: of 40 segments, not of 39; score again"):
        the_table(study, texts={"dev": replace(study.texts["dev"], refs=study.refs["dev"][1:])})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"1\.npz: cannot be read: .*; score again"):
        the_table(study)
    path.unlink()
    with pytest.raises(DataError, match=r"1\.npz: cannot be read: .*; score again"):
        the_table(study)


def test_a_run_given_twice_is_refused(study):
    study.results += [study.run("ce", error=0.4)]
    with pytest.raises(DataError, match="ce/tiny/seed 1 on dev, beam 5: it is given twice"):
        the_table(study)


def test_runs_of_different_models_do_not_make_a_row(study):
    study.run("ce", error=0.4, seed=1)
    study.run("ce", error=0.4, seed=2, num_params=7)
    with pytest.raises(DataError, match="of 7 parameters, but seed 1 is"):
        the_table(study)


def test_two_metrics_of_one_name_are_refused(study):
    for method in ("ce", "good"):
        run = study.run(method, error=0.4)
        run.scores["comet"] = Score(0.5, f"comet of {method}")
    with pytest.raises(DataError, match="comet is comet of good, and comet of ce in another"):
        build_tables(study.results, study=study.facts())


def test_a_split_or_a_point_without_references_is_named(study):
    study.run("ce", error=0.4)
    texts = {"test-news": study.texts["test-news"]}
    with pytest.raises(DataError, match="dev has no references, only test-news has"):
        the_table(study, texts=texts)
    with pytest.raises(DataError, match="dev has no references, only no split has"):
        the_table(study, scenarios={})
