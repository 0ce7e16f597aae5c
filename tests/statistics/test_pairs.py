"""p-values of two given systems: sacrebleu's and scipy's where those are right, and they hold."""

import random

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest, _compute_p_value
from scipy import stats
from simulated import AT_LEVEL, Simulation, World, rate

from kdray.errors import DataError
from kdray.scoring.counts import (
    Segments,
    bleu,
    bleu_counter,
    chrf_counter,
    mean_of_segments,
)
from kdray.statistics.pairs import approximate_randomisation, paired_bootstrap
from kdray.statistics.resampling import Resamples

WORDS = ["ban", "dor", "fil", "gum", "hat", "jok", "lem", "nip", "rus", "tav", "wex", "yol"]


def lines(seed, rate, refs):
    rng = random.Random(seed)
    return [
        " ".join(rng.choice(WORDS) if rng.random() < rate else word for word in line.split())
        for line in refs
    ]


rng = random.Random(0)
REFS = [" ".join(rng.choices(WORDS, k=rng.randint(6, 14))) for _ in range(60)]
ONE, OTHER = lines(1, 0.12, REFS), lines(2, 0.2, REFS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "counter"),
    [(BLEU(), bleu_counter(REFS, bleu_tokenize="13a")), (CHRF(), chrf_counter(REFS))],
    ids=["bleu", "chrf"],
)
def test_approximate_randomisation_is_sacrebleus(metric, counter, monkeypatch):
    monkeypatch.delenv("SACREBLEU_SEED", raising=False)
    systems = [("baseline", OTHER), ("system", ONE)]
    _, table = PairedTest(systems, {"m": metric}, [REFS], "ar", n_samples=1500)()
    _, system = next(results for name, results in table.items() if name != "System")
    p = approximate_randomisation(counter.count(ONE), counter.count(OTHER), trials=1500)
    assert 0 < p < 1
    assert p == system.p_value


def test_approximate_randomisation_of_a_mean_is_scipys_permutation_test():
    rng = np.random.default_rng(1)
    one, other = rng.normal(0.4, 1, 40), rng.normal(0, 1, 40)
    p = approximate_randomisation(mean_of_segments(one), mean_of_segments(other))
    expected = stats.permutation_test(
        (one, other),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        axis=-1,
        rng=2,
    )
    assert p == pytest.approx(expected.pvalue, abs=0.015)


def test_a_system_does_not_differ_from_itself():
    segments = bleu_counter(REFS, bleu_tokenize="13a").count(ONE)
    score = Resamples.draw(60, 200).score(segments)
    assert approximate_randomisation(segments, segments, trials=200) == 1
    assert paired_bootstrap(score, score) == 1


def test_exchanging_the_sides_changes_nothing():
    counter, draws = chrf_counter(REFS), Resamples.draw(60, 200)
    one, other = counter.count(ONE), counter.count(OTHER)
    assert paired_bootstrap(draws.score(one), draws.score(other)) == paired_bootstrap(
        draws.score(other), draws.score(one)
    )
    assert approximate_randomisation(one, other, trials=300) == pytest.approx(
        approximate_randomisation(other, one, trials=300), abs=0.1
    )


def test_systems_of_other_lengths_are_refused():
    one, other = mean_of_segments([1.0] * 30), mean_of_segments([1.0] * 31)
    with pytest.raises(DataError, match="30 segments and the other 31"):
        approximate_randomisation(one, other)
    with pytest.raises(DataError, match="30 segments and the other 31"):
        paired_bootstrap(Resamples.draw(30, 9).score(one), Resamples.draw(31, 9).score(other))
    with pytest.raises(DataError, match="9 resamples and the other 8"):
        paired_bootstrap(Resamples.draw(30, 9).score(one), Resamples.draw(30, 8).score(one))


@pytest.mark.slow
@pytest.mark.parametrize("num_segments", [30, 100])
def test_ps_of_two_equal_systems_hold_their_level_and_sacrebleus_bootstrap_does_not(num_segments):
    """Models, not methods: both have the same worth, so no seed variance is drawn."""
    simulation = Simulation(np.random.default_rng(num_segments), num_segments, World(seed=0))
    draws = Resamples.draw(num_segments, 300)
    small = {"bootstrap": [], "randomisation": [], "sacrebleu": []}
    for counts in simulation.counts(1000, [0, 0], seeds=1):
        one, other = (Segments(counts[method, 0], bleu) for method in range(2))
        a, b = draws.score(one), draws.score(other)
        spreads = np.abs(a.resampled - b.resampled)
        theirs = _compute_p_value(spreads - spreads.mean(), abs(a.observed - b.observed))
        small["bootstrap"].append(paired_bootstrap(a, b) < 0.05)
        small["randomisation"].append(approximate_randomisation(one, other, trials=300) < 0.05)
        small["sacrebleu"].append(theirs < 0.05)
    shares = {name: rate(happened) for name, happened in small.items()}
    assert shares["bootstrap"][0] < AT_LEVEL, shares
    assert 0.03 < shares["randomisation"][0] < AT_LEVEL, shares
    assert shares["sacrebleu"][0] > 0.09, shares
