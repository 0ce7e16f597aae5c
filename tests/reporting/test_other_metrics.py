"""Metrics from outside, and conditions without translations, in the tables of a report."""

import numpy as np
import pytest
from scipy.stats import norm

from kdray.condition import Condition
from kdray.errors import DataError
from kdray.reporting.layout import columns_of, footnotes, markdown
from kdray.reporting.table import build_tables
from kdray.scoring.result import Score
from kdray.scoring.segments import compare_means, read_segments, write_segments
from kdray.text.prefix import split_references


def with_comet(study, method, *, mean, seed=1, signature="comet 1", **changes):
    """A run with a metric of which each segment has a number; runs of a seed share its luck."""
    result = study.run(method, error=0.3, seed=seed, **changes)
    path = study.folder / f"{len(study.results)}.comet"
    noise = np.random.default_rng(seed).normal(size=40)
    own = np.random.default_rng([seed, len(method)]).normal(size=40) * 0.1
    write_segments(path, (mean + noise + own).tolist())
    value = float(read_segments(path, lines=40).mean())
    result.scores["comet"] = Score(value, signature, segments_path=str(path))
    return result


def row(table, method):
    return next(row for row in table.rows if row.method == method)


def test_its_differences_are_tested_and_corrected_by_themselves(study):
    for seed in (1, 2, 3):
        with_comet(study, "ce", mean=0.0, seed=seed)
        with_comet(study, "good", mean=1.0, seed=seed)
        with_comet(study, "same", mean=0.0, seed=seed)
    (table,) = build_tables(study.results, study=study.facts())
    good, same = (row(table, name).difference.others["comet"] for name in ("good", "same"))
    assert good.p < 0.05 < same.p
    assert good.p == pytest.approx(2 * good.p_uncorrected)
    assert good.is_better
    assert not row(table, "good").is_finding, "findings are of BLEU"
    assert table.metrics_from_outside == ("comet",)
    assert {"comet", "Δ comet"} <= {column.heading for column in columns_of(table)}
    assert "comet: comet 1, the mean over segments" in " ".join(footnotes(table))


def test_a_run_without_it_keeps_all_else(study):
    study.run("ce", error=0.4)
    with_comet(study, "good", mean=1.0)
    (table,) = build_tables(study.results, study=study.facts())
    assert "comet" not in row(table, "ce").scores
    assert row(table, "good").difference.others == {}
    assert row(table, "good").difference.p is not None
    assert "| – | baseline |" in markdown(table)


def test_two_metrics_of_one_name_are_refused(study):
    with_comet(study, "ce", mean=0.0)
    with_comet(study, "good", mean=0.0, signature="comet 2")
    with pytest.raises(DataError, match="comet is comet 2, and comet 1 in another result"):
        build_tables(study.results, study=study.facts())


def test_a_prefix_has_the_rests_of_the_references_for_references(study):
    whole = study.refs["dev"]
    study.refs["dev"] = [part.continuation for part in split_references(whole, 0.5)]
    for seed in (1, 2):
        study.run("ce", error=0.4, seed=seed, condition=Condition.of_prefix(0.5))
        study.run("good", error=0.1, seed=seed, condition=Condition.of_prefix(0.5))
    study.refs["dev"] = whole
    (table,) = build_tables(study.results, study=study.facts())
    assert table.title == "dev, prefix 0.5"
    assert table.beam is None
    assert row(table, "good").difference.p is not None, "files and references belong together"


def test_teacher_forcing_has_columns_of_its_own(study):
    study.run("ce", error=0.4)
    scores = {"loss": Score(2.5, "nats a token", False), "accuracy": Score(51.25, "% of tokens")}
    for method in ("ce", "good"):
        study.run(
            method, error=0.4, condition=Condition("teacher-forcing"), scores=scores, hyps_path=None
        )
    plain, forced = build_tables(study.results, study=study.facts())
    assert (plain.beam, forced.title) == (5, "dev, teacher forcing")
    headings = [column.heading for column in columns_of(forced)]
    assert headings[3:5] == ["loss", "accuracy"]
    assert "BLEU" not in headings
    assert "| 2.5 | 51.25 |" in markdown(forced)
    assert row(forced, "good").difference is None


def test_the_test_of_means_agrees_with_the_normal_one():
    """A paired z-test of many segments."""
    rng = np.random.default_rng(1)
    for shift in (0.0, 0.05, 0.1):
        baseline = rng.normal(size=800)
        system = baseline + rng.normal(shift, 1, size=800)
        gains = system - baseline
        z = gains.mean() / (gains.std() / len(gains) ** 0.5)
        compared = compare_means(baseline, system, samples=4000)
        assert compared.difference == pytest.approx(gains.mean())
        assert compared.p_value == pytest.approx(2 * norm.sf(abs(z)), abs=0.03)
        assert compared.ci_low < gains.mean() < compared.ci_high
    assert compare_means(baseline, baseline, samples=100).p_value == 1


def test_a_damaged_file_of_segments_is_told(tmp_path):
    path = tmp_path / "numbers.txt"
    write_segments(path, [0.1, 1 / 3])
    assert read_segments(path, lines=2).tolist() == [0.1, 1 / 3]
    with pytest.raises(DataError, match="2 scores for 3 segments"):
        read_segments(path, lines=3)
    path.write_text("0.1\nhalf\n")
    with pytest.raises(DataError, match="cannot be read"):
        read_segments(path, lines=2)
