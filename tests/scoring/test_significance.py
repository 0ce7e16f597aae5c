"""P-values are sacrebleu's, and several seeds make them more careful."""

import random

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.significance import PairedTest, _bootstrap_resample

from kdray.errors import ConfigError, DataError
from kdray.scoring.significance import (
    Comparison,
    SeedComparison,
    _scores,
    compare_seeds,
    paired_bootstrap,
)
from kdray.statistics.resampling import MIN_SEGMENTS

WORDS = ["ban", "dor", "fil", "gum", "hat", "jok", "lem", "nip", "rus", "tav", "wex", "yol"]
SETTINGS = {"bleu_tokenize": "13a", "samples": 200}


def corrupted(lines, rate, seed):
    draw = random.Random(seed)
    return [
        " ".join(draw.choice(WORDS) if draw.random() < rate else word for word in line.split())
        for line in lines
    ]


draw = random.Random(0)
REFS = [" ".join(draw.choices(WORDS, k=draw.randint(6, 14))) for _ in range(60)]
GOOD = corrupted(REFS, 0.1, seed=1)
ALSO_GOOD = corrupted(REFS, 0.1, seed=2)
BAD = corrupted(REFS, 0.4, seed=3)


def test_p_and_scores_are_those_of_sacrebleus_paired_test(monkeypatch):
    monkeypatch.delenv("SACREBLEU_SEED", raising=False)
    systems = [("baseline", GOOD), ("system", ALSO_GOOD)]
    _, table = PairedTest(systems, {"m": BLEU()}, [REFS], "bs", n_samples=200)()
    baseline, system = next(results for name, results in table.items() if name != "System")
    ours = paired_bootstrap(GOOD, ALSO_GOOD, REFS, **SETTINGS)
    assert ours.p_value == system.p_value
    assert ours.baseline_score == pytest.approx(baseline.score)
    assert ours.system_score == pytest.approx(system.score)


@pytest.mark.parametrize("sides", [(BAD, GOOD), (GOOD, ALSO_GOOD)])
def test_the_interval_is_that_of_sacrebleus_resamples(sides, monkeypatch):
    monkeypatch.delenv("SACREBLEU_SEED", raising=False)
    scores = []
    for hyps in sides:
        scorer = BLEU()
        statistics = scorer._extract_corpus_statistics(hyps, [REFS])
        _, resampled = _bootstrap_resample(statistics, scorer, 200)
        scores.append(np.array([score.score for score in resampled]))
    low, high = np.quantile(scores[1] - scores[0], [0.025, 0.975])
    ours = paired_bootstrap(*sides, REFS, **SETTINGS)
    assert (ours.ci_low, ours.ci_high) == (low, high)


def test_a_large_difference_is_significant_and_its_interval_excludes_zero():
    comparison = paired_bootstrap(BAD, GOOD, REFS, **SETTINGS)
    assert comparison.p_value < 0.01
    assert 0 < comparison.ci_low < comparison.difference < comparison.ci_high


def test_exchanging_the_sides_mirrors_everything():
    one, other = (
        paired_bootstrap(*sides, REFS, **SETTINGS) for sides in ((BAD, GOOD), (GOOD, BAD))
    )
    assert one.difference == pytest.approx(-other.difference)
    assert one.p_value == other.p_value
    assert one.ci_low == pytest.approx(-other.ci_high)


def test_equally_good_systems_are_not_told_apart():
    comparison = paired_bootstrap(GOOD, ALSO_GOOD, REFS, **SETTINGS)
    assert comparison.p_value > 0.05
    assert comparison.ci_low < 0 < comparison.ci_high


def test_a_system_does_not_differ_from_itself():
    same = paired_bootstrap(GOOD, GOOD, REFS, **SETTINGS)
    assert (same.difference, same.p_value, same.ci_low, same.ci_high) == (0, 1, 0, 0)


def test_the_answer_is_always_the_same(monkeypatch):
    """Also where a user's environment sets a seed for sacrebleu."""
    once = paired_bootstrap(BAD, GOOD, REFS, **SETTINGS)
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    _scores.cache_clear()
    assert paired_bootstrap(BAD, GOOD, REFS, **SETTINGS) == once


@pytest.mark.parametrize("side", [0, 1])
def test_a_side_that_lacks_a_segment_is_refused(side):
    sides = [GOOD, BAD]
    sides[side] = sides[side][:-1]
    with pytest.raises(DataError, match="59 translations for 60 references"):
        paired_bootstrap(*sides, REFS, **SETTINGS)


def test_an_unusable_tokenizer_is_refused():
    with pytest.raises(ConfigError, match="flores200"):
        paired_bootstrap(GOOD, BAD, REFS, **{**SETTINGS, "bleu_tokenize": "flores200"})


def test_runs_meet_the_baselines_run_of_the_same_seed_only():
    baseline, system = {1: BAD, 2: GOOD, 4: BAD}, {1: GOOD, 2: GOOD, 3: BAD}
    comparison = compare_seeds(baseline, system, REFS, **SETTINGS)
    assert comparison is not None
    assert list(comparison.by_seed) == [1, 2]
    assert comparison.by_seed[1] == paired_bootstrap(BAD, GOOD, REFS, **SETTINGS)
    assert comparison.by_seed[2].difference == 0


def test_no_common_seed_is_no_comparison():
    assert compare_seeds({1: BAD}, {2: GOOD}, REFS, **SETTINGS) is None


def outcome(difference, p_value):
    return Comparison(
        baseline_score=20,
        system_score=20 + difference,
        difference=difference,
        p_value=p_value,
        ci_low=difference - 1,
        ci_high=difference + 1,
    )


def test_the_least_certain_seed_speaks_for_the_method():
    by_seed = {1: outcome(2.0, 0.01), 2: outcome(1.0, 0.2), 3: outcome(3.0, 0.001)}
    comparison = SeedComparison(by_seed)
    assert comparison.p_value == 0.2
    assert (comparison.ci_low, comparison.ci_high) == (0.0, 4.0)


def test_a_seed_that_points_the_other_way_speaks_against_the_method():
    assert SeedComparison({1: outcome(3.0, 0.001), 2: outcome(-1.0, 0.001)}).p_value == 1
    assert SeedComparison({1: outcome(-3.0, 0.001), 2: outcome(-1.0, 0.002)}).p_value == 0.002


def null_comparisons(segments, *, seeds, times=150):
    """Shares of comparisons of equally good systems with p < 0.05, and that are findings besides.

    Lengths and difficulties of the segments differ as in natural text.
    """
    rng = random.Random(segments)

    def system(refs, rates):
        return [
            " ".join(rng.choice(WORDS) if rng.random() < rate else w for w in line.split())
            for line, rate in zip(refs, rates, strict=True)
        ]

    significant = findings = 0
    for _ in range(times):
        lengths = [min(80, int(rng.lognormvariate(2.5, 0.9)) + 1) for _ in range(segments)]
        refs = [" ".join(rng.choices(WORDS, k=length)) for length in lengths]
        rates = [rng.betavariate(1, 2) for _ in refs]
        sides = [{seed: system(refs, rates) for seed in range(seeds)} for _ in range(2)]
        found = compare_seeds(*sides, refs, bleu_tokenize="none", samples=100)
        scores = [(c.baseline_score, c.system_score) for c in found.by_seed.values()]
        spread = np.hypot(*np.std(scores, axis=0, ddof=1)) if seeds > 1 else np.inf
        difference = abs(np.mean([system - baseline for baseline, system in scores]))
        significant += found.p_value < 0.05
        findings += found.p_value < 0.05 and difference > spread
    return significant / times, findings / times


@pytest.mark.slow
def test_why_fewer_segments_are_not_tested():
    """By chance alone: one segment makes findings, and as many as are asked for do not."""
    assert null_comparisons(1, seeds=1)[0] > 0.6
    assert null_comparisons(1, seeds=3)[1] > 0.05
    assert null_comparisons(5, seeds=1)[0] > 0.2
    assert null_comparisons(MIN_SEGMENTS, seeds=1)[0] < 0.18
    assert null_comparisons(MIN_SEGMENTS, seeds=3)[1] <= 0.02
