"""Seed noise is what other seeds change other segments do not, and like cells share it."""

import numpy as np
import pytest
from simulated import Simulation

from kdray.scoring.counts import mean_of_segments
from kdray.statistics.resampling import Resamples, Score
from kdray.statistics.seeds import pool_seeds


def cells_of(num_cells, seeds, *, seed_sd, luck_sd, num_segments=400, rng):
    """Means over segments, whose parts of the variance are known in closed form."""
    draws = Resamples.draw(num_segments, 400)
    shared = rng.normal(0, 3, num_segments)
    return {
        cell: {
            seed: draws.score(
                mean_of_segments(
                    shared + rng.normal(0, seed_sd) + rng.normal(0, luck_sd, num_segments)
                )
            )
            for seed in range(seeds)
        }
        for cell in range(num_cells)
    }


def test_both_parts_of_the_variance_between_seeds_are_estimated():
    rng = np.random.default_rng(0)
    cells = cells_of(40, 5, seed_sd=0.3, luck_sd=4.0, rng=rng)
    noise = pool_seeds(cells)[0].noise
    assert (noise.df, noise.num_cells) == (160, 40)
    assert noise.of_segments == pytest.approx(16 / 400, rel=0.05)
    assert noise.observed == pytest.approx(0.09 + 16 / 400, rel=0.35)
    assert noise.own == noise.observed - noise.of_segments


def test_segments_alone_leave_no_seed_noise_of_their_own():
    """With seeds of equal worth, what they differ by is luck with the segments."""
    rng = np.random.default_rng(1)
    noise = pool_seeds(cells_of(40, 5, seed_sd=0, luck_sd=4.0, rng=rng))[0].noise
    assert noise.own < 0.5 * noise.of_segments


def test_cells_that_are_alike_share_their_noise_and_one_seed_tells_none():
    rng = np.random.default_rng(2)
    cells = cells_of(3, 3, seed_sd=0.2, luck_sd=1.0, rng=rng)
    cells[3] = {0: cells[0][0]}
    runs = pool_seeds(cells)
    assert runs[0].noise is runs[1].noise is runs[2].noise
    assert runs[0].noise.df == 6
    assert runs[3].noise is None
    assert [len(runs[cell].scores) for cell in runs] == [3, 3, 3, 1]


def test_a_cell_that_varies_far_more_keeps_its_noise_to_itself():
    """A run that diverged must not drown the differences between all other methods."""
    rng = np.random.default_rng(3)
    cells = cells_of(5, 3, seed_sd=0.2, luck_sd=1.0, rng=rng)
    diverged = cells[4][0]
    cells[4][0] = Score(diverged.observed - 30, diverged.resampled - 30, diverged.num_segments)
    runs = pool_seeds(cells)
    assert runs[4].noise.df == 2
    assert runs[4].noise.observed > 200
    assert {runs[cell].noise.df for cell in range(4)} == {8}
    assert runs[0].noise.observed < 1


@pytest.mark.slow
def test_cells_that_are_alike_are_seldom_parted():
    simulation = Simulation(np.random.default_rng(4), samples=100)
    parted = []
    for study in simulation.studies(1000, abilities=[0] * 4, seeds=3):
        runs = pool_seeds(dict(enumerate(study)))
        parted.append(len({id(each.noise) for each in runs.values()}) > 1)
    assert np.mean(parted) < 0.03
