"""Studies whose truth is known, at the level of what BLEU counts in a segment.

Segments have lengths and difficulties of their own, which all systems share. A method has segments
that suit it, a training (a seed) is better or worse as a whole and suits other segments than its
neighbours. Everything is added up in the logit of the rate at which words are matched.
"""

from dataclasses import dataclass

import numpy as np

from kdray.statistics.resampling import Resamples
from kdray.statistics.segments import Segments, bleu


@dataclass(frozen=True)
class World:
    """How large each cause is, in logits."""

    difficulty: float = 0.8  # of a segment, for all systems
    method_by_segment: float = 0.2
    seed: float = 0.04  # about 0.8 points of BLEU
    seed_by_segment: float = 0.3


@dataclass
class Simulation:
    """Draws tests, methods and trainings one after the other."""

    rng: np.random.Generator
    num_segments: int = 100
    world: World = World()

    def new_test(self, base: float = 1.0):
        """Draw other sentences; `base` is how well systems do on them, in logits."""
        lengths = self.rng.lognormal(2.6, 0.5, self.num_segments)
        self.ref_len = np.clip(lengths.round(), 1, 80).astype(int)
        self.base = base + self.world.difficulty * self.rng.standard_normal(self.num_segments)

    def segments(self, ability):
        """What BLEU counts of a system with such an ability for each segment."""
        noise = self.rng.standard_normal(self.num_segments)
        hyp_len = np.maximum(1, (self.ref_len * (1 + 0.05 * noise)).round()).astype(int)
        totals = np.maximum(hyp_len[:, None] - np.arange(4), 0)
        rates = 1 / (1 + np.exp(-(self.base + ability)))
        matches = self.rng.binomial(totals, rates[:, None] ** np.array([1, 1.7, 2.4, 3.1]))
        counts = np.column_stack([hyp_len, self.ref_len, matches, totals])
        return Segments(counts.astype(np.float64), bleu)

    def method(self, seeds, *, ability=0.0):
        """The counts of a method's trainings; `ability` is its true worth, in logits."""
        suits = self.world.method_by_segment * self.rng.standard_normal(self.num_segments)
        runs = []
        for _ in range(seeds):
            own = self.world.seed * self.rng.standard_normal()
            luck = self.world.seed_by_segment * self.rng.standard_normal(self.num_segments)
            runs.append(self.segments(ability + suits + own + luck))
        return runs


def resamples(num_segments, samples=300):
    return Resamples.draw(num_segments, samples)


def scored(draws, runs):
    """Scores by seed."""
    return {seed: draws.score(segments) for seed, segments in enumerate(runs)}


def rate(happened):
    """A share with its standard error, in words for messages."""
    share = float(np.mean(happened))
    return share, f"{share:.3f} ± {np.sqrt(share * (1 - share) / len(happened)):.3f}"
