"""Studies whose truth is known, at the level of what BLEU counts in a segment.

Segments have lengths and difficulties of their own, which all systems share. A method has segments
that suit it, a training (a seed) is better or worse as a whole and suits other segments than its
neighbours. Everything is added up in the logit of the rate at which words are matched.

T studies, M methods, S seeds, n segments, R resamples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kdray.scoring.counts import bleu
from kdray.statistics.resampling import Resamples, Score

BATCH = 25  # studies that are drawn and scored at once
AT_LEVEL = 0.075  # what happens in 5 % is in more of 1000 studies in 1 of 4000 cases


@dataclass(frozen=True)
class World:
    """How large each cause is, in logits."""

    difficulty: float = 0.8  # of a segment, for all systems
    method_by_segment: float = 0.2
    seed: float = 0.03  # about 0.7 points of BLEU
    seed_by_segment: float = 0.3


@dataclass
class Simulation:
    """Draws studies, each with a test of its own."""

    rng: np.random.Generator
    num_segments: int = 60
    world: World = World()
    samples: int = 200  # resamples

    def studies(
        self, times: int, *, abilities: Sequence[float], seeds: int, base: float = 1.0
    ) -> Iterator[list[dict[int, Score]]]:
        """Scores by seed of each method.

        Args:
            times: how many studies.
            abilities: the true worth of each method, in logits.
            seeds: of each method.
            base: how well systems do on the test, in logits.
        """
        draws = Resamples.draw(self.num_segments, self.samples)
        for start in range(0, times, BATCH):
            counts = self.counts(min(BATCH, times - start), abilities, seeds, base)
            yield from _scores(draws, counts)

    def counts(
        self, times: int, abilities: Sequence[float], seeds: int, base: float = 1.0
    ) -> np.ndarray:
        """What BLEU counts of all systems: [T, M, S, n, 10]."""
        T, M, S, n = times, len(abilities), seeds, self.num_segments
        world, normal = self.world, self.rng.standard_normal
        ref_len = np.clip(self.rng.lognormal(2.6, 0.5, (T, 1, 1, n)).round(), 1, 80)
        logits = (
            base
            + np.reshape(abilities, (M, 1, 1))
            + world.difficulty * normal((T, 1, 1, n))
            + world.method_by_segment * normal((T, M, 1, n))
            + world.seed * normal((T, M, S, 1))
            + world.seed_by_segment * normal((T, M, S, n))
        )
        hyp_len = np.maximum(1, (ref_len * (1 + 0.05 * normal((T, M, S, n)))).round())
        totals = np.maximum(hyp_len[..., None] - np.arange(4), 0)
        rates = (1 / (1 + np.exp(-logits)))[..., None] ** np.array([1, 1.7, 2.4, 3.1])
        matches = self.rng.binomial(totals.astype(int), rates)
        lengths = np.stack([hyp_len, np.broadcast_to(ref_len, hyp_len.shape)], axis=-1)
        return np.concatenate([lengths, matches, totals], axis=-1)


def _scores(draws: Resamples, counts: np.ndarray) -> Iterator[list[dict[int, Score]]]:
    """All systems on all resamples, by one product."""
    T, M, S, n, K = counts.shape
    columns = np.moveaxis(counts, 3, 0).reshape(n, -1)
    resampled = bleu((draws.times_drawn @ columns).reshape(-1, T, M, S, K))
    resampled = np.ascontiguousarray(np.moveaxis(resampled, 0, -1))  # [T, M, S, R]
    observed = bleu(counts.sum(axis=3))
    for study in range(T):
        yield [
            {
                seed: Score(float(observed[study, m, seed]), resampled[study, m, seed], n)
                for seed in range(S)
            }
            for m in range(M)
        ]


def rate(happened: Sequence[bool]) -> tuple[float, str]:
    """A share, and the same with its standard error in words for messages."""
    share = float(np.mean(happened))
    return share, f"{share:.3f} ± {np.sqrt(share * (1 - share) / len(happened)):.3f}"
