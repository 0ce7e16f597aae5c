"""A table compares only what can be compared, and corrects its p-values for all comparisons."""

import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from kdray.scoring.significance import paired_bootstrap

from kdray.errors import DataError
from kdray.reporting.difference import Difference, Finding
from kdray.reporting.table import build_tables
from kdray.reporting.verdict import verdicts
from kdray.scoring.result import read_hyps, write_hyps
from kdray.statistics.multiplicity import holm


def the_table(study, **changes):
    (table,) = build_tables(study.results, study=study.facts(**changes))
    return table


def row(table, method):
    (match,) = [row for row in table.rows if row.method == method]
    return match


def test_a_row_is_a_mean_over_seeds_with_their_deviation(study):
    runs = [study.run("ce", error=error, seed=seed) for seed, error in ((1, 0.2), (2, 0.3))]
    ce = row(the_table(study), "ce")
    assert ce.bleu.mean == pytest.approx(statistics.fmean(run.bleu for run in runs))
    assert ce.bleu.sd == pytest.approx(statistics.stdev(run.bleu for run in runs))
    assert ce.chrf.sd == pytest.approx(statistics.stdev(run.chrf for run in runs))
    assert ce.seeds == (1, 2)
    assert ce.is_baseline
    assert ce.difference is None


def test_one_seed_has_no_deviation(study):
    study.run("ce", error=0.2)
    assert row(the_table(study), "ce").bleu.sd is None


def test_the_teacher_stands_first_and_the_baseline_before_the_others(study):
    for size in ("tiny", "small"):
        for method in ("hybrid", "ce", "sentence"):
            study.run(method, error=0.2, size=size)
    study.run("teacher", error=0.1, role="teacher", size="base")
    rows = the_table(study).rows
    assert [(row.cell.size, row.method) for row in rows] == [
        ("base", "teacher"),
        ("tiny", "ce"),
        ("tiny", "hybrid"),
        ("tiny", "sentence"),
        ("small", "ce"),
        ("small", "hybrid"),
        ("small", "sentence"),
    ]
    assert rows[0].difference is None


def test_differences_are_taken_between_runs_of_the_same_seed_and_size(study):
    base = {seed: study.run("ce", error=0.4, seed=seed) for seed in (1, 2)}
    mine = {seed: study.run("hybrid", error=0.1, seed=seed) for seed in (1, 2)}
    study.run("ce", error=0.05, size="small")  # of another size: must not matter
    difference = row(the_table(study), "hybrid").difference

    per_seed = {
        seed: paired_bootstrap(
            read_hyps(Path(base[seed].hyps_path)),
            read_hyps(Path(mine[seed].hyps_path)),
            study.refs["dev"],
            bleu_tokenize="13a",
            samples=200,
        )
        for seed in (1, 2)
    }
    assert difference.p_uncorrected == max(comparison.p_value for comparison in per_seed.values())
    differences = [comparison.difference for comparison in per_seed.values()]
    assert difference.bleu == pytest.approx(statistics.fmean(differences))
    sds = [statistics.stdev(run.bleu for run in runs.values()) for runs in (base, mine)]
    assert difference.sd == pytest.approx((sds[0] ** 2 + sds[1] ** 2) ** 0.5)
    assert difference.seeds == (1, 2)
    assert difference.finding is Finding.SIGNIFICANT


def test_p_is_corrected_over_all_comparisons_of_the_table(study):
    for size in ("tiny", "small"):
        study.run("ce", error=0.3, size=size)
        study.run("hybrid", error=0.1, size=size)
        study.run("token", error=0.28, size=size)
    table = the_table(study)
    tested = [row.difference for row in table.rows if row.difference]
    assert table.num_tests == len(tested) == 4
    assert [d.p for d in tested] == list(holm([d.p_uncorrected for d in tested]))
    assert any(d.p > d.p_uncorrected for d in tested)


def test_only_the_common_seeds_are_compared_and_the_reader_is_told(study):
    study.run("ce", error=0.4, seed=1)
    study.run("hybrid", error=0.1, seed=1)
    study.run("hybrid", error=0.9, seed=2)
    table = the_table(study)
    hybrid = row(table, "hybrid")
    assert hybrid.seeds == (1, 2)
    assert hybrid.difference.seeds == (1,)
    assert hybrid.difference.bleu > 0  # seed 2 would have turned it round
    assert "hybrid (tiny): difference and p are over the common seeds 1;" in table.notes[0]


def test_no_common_seed_is_no_p_and_a_note(study):
    study.run("ce", error=0.4, seed=1)
    study.run("hybrid", error=0.1, seed=2)
    table = the_table(study)
    assert row(table, "hybrid").difference is None
    assert "no seed in common with ce (seeds 2 and 1)" in table.notes[0]


def test_a_size_without_a_baseline_is_no_difference_and_a_note(study):
    study.run("ce", error=0.4, size="small")
    study.run("hybrid", error=0.1, size="tiny")
    table = the_table(study)
    assert row(table, "hybrid").difference is None
    assert "hybrid (tiny): there is no ce of this size" in table.notes[0]


def test_methods_are_compared_at_equal_length(study):
    for seed in (1, 2):
        study.run("ce", error=0.4, seed=seed, length=400)
        study.run("hybrid", error=0.3, seed=seed, length=400)
        study.run("ce", error=0.2, seed=seed, length=800)
        study.run("hybrid", error=0.1, seed=seed, length=800)
    study.run("hybrid", error=0.1, length=1600)
    table = the_table(study)
    assert [(row.cell.length, row.method) for row in table.rows] == [
        (400, "ce"), (400, "hybrid"), (800, "ce"), (800, "hybrid"), (1600, "hybrid"),
    ]  # fmt: skip
    for ce, hybrid in (table.rows[:2], table.rows[2:4]):
        assert hybrid.difference.bleu == pytest.approx(hybrid.bleu.mean - ce.bleu.mean)
    assert table.rows[4].difference is None
    assert table.notes == (
        "hybrid (tiny, 1600 updates): there is no ce of this size and length, so no difference "
        "and no p.",
    )
    assert [v.size for v in verdicts([table], main_beam=5)] == [
        "tiny, 400 updates", "tiny, 800 updates", "tiny, 1600 updates",
    ]  # fmt: skip


def test_splits_and_beams_and_signatures_never_share_a_table(study):
    study.run("ce", error=0.4, split="test-news")
    study.run("ce", error=0.4)
    study.run("ce", error=0.4, beam=1)
    study.run("ce", error=0.4, tokenize="char")
    tables = build_tables(study.results, study=study.facts())
    shown = [(table.split, table.beam, "tok:char" in table.signatures["bleu"]) for table in tables]
    assert shown == [
        ("dev", 5, False),
        ("dev", 5, True),
        ("dev", 1, False),
        ("test-news", 5, False),
    ]


def test_scores_of_another_signature_are_shown_but_not_tested(study):
    study.run("ce", error=0.4, tokenize="char")
    study.run("hybrid", error=0.1, tokenize="char")
    table = the_table(study)
    difference = row(table, "hybrid").difference
    assert difference.bleu > 0
    assert difference.p is None
    assert difference.finding is Finding.UNTESTED
    assert "tok:13a" in table.notes[0]


def test_too_few_resamples_for_so_many_methods_are_reported(study):
    study.run("ce", error=0.4)
    for method in range(6):
        study.run(f"m{method}", error=0.1)
    assert (
        "raise recipe.evaluation.bootstrap_samples"
        in the_table(study, bootstrap_samples=100).notes[0]
    )
    assert the_table(study, bootstrap_samples=200).notes == ()


def test_lines_that_moved_are_found(study):
    study.run("ce", error=0.4)
    run = study.run("hybrid", error=0.1)
    path = Path(run.hyps_path)
    hyps = read_hyps(path)
    write_hyps(path, hyps[1:] + hyps[:1])
    with pytest.raises(DataError, match=r"gives BLEU .* but the result of student hybrid/tiny"):
        the_table(study)


def test_a_file_with_a_missing_line_is_named(study):
    study.run("ce", error=0.4)
    run = study.run("hybrid", error=0.1)
    write_hyps(Path(run.hyps_path), read_hyps(Path(run.hyps_path))[:-1])
    with pytest.raises(DataError, match=r"1\.txt: 39 translations, but dev has 40 references"):
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


def test_a_split_without_references_is_named(study):
    study.run("ce", error=0.4)
    with pytest.raises(DataError, match="dev has no references, only test-news has"):
        the_table(study, refs={"test-news": study.refs["test-news"]})


def test_what_no_seed_measured_is_unknown_not_zero(study):
    study.run("ce", error=0.4, seed=1, decode_tokens_per_second=None, target_tokens=None)
    study.run("ce", error=0.4, seed=2, decode_tokens_per_second=70.0, target_tokens=None)
    ce = row(the_table(study), "ce")
    assert ce.tokens_per_second == 70
    assert ce.target_tokens is None


DIFFERENCE = Difference(
    bleu=1.0, chrf=0.5, sd=0.4, seeds=(1, 2), ci_low=0.2, ci_high=1.8, p_uncorrected=0.01, p=0.02
)


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({}, Finding.SIGNIFICANT),
        ({"bleu": -1.0}, Finding.SIGNIFICANT),
        ({"p": 0.05}, Finding.NOT_SIGNIFICANT),
        ({"sd": 1.0}, Finding.NOT_SIGNIFICANT),
        ({"bleu": -1.0, "sd": 1.5}, Finding.NOT_SIGNIFICANT),
        ({"sd": None}, Finding.SEED_NOISE_UNKNOWN),
        ({"sd": None, "p": 0.3}, Finding.NOT_SIGNIFICANT),
        ({"p": None}, Finding.UNTESTED),
    ],
)
def test_a_finding_needs_a_small_p_and_more_than_seed_noise(changes, finding):
    assert replace(DIFFERENCE, **changes).finding is finding


@pytest.mark.parametrize(("segments", "tested"), [(1, False), (29, False), (30, True)])
def test_differences_on_few_segments_are_untested(study, segments, tested):
    study.refs = {"dev": study.refs["dev"][:segments]}
    for seed in (1, 2, 3):
        study.run("ce", error=0.6, seed=seed)
        study.run("better", error=0.1, seed=seed)
    table = the_table(study)
    row = next(row for row in table.rows if row.method == "better")
    assert row.difference.finding is (Finding.SIGNIFICANT if tested else Finding.UNTESTED)
    told = f"{segments} segments are too few to test differences on"
    assert any(note.startswith(told) for note in table.notes) != tested
