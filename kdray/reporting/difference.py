"""By how much does a method differ from the baseline, and is that a finding?

It is a finding only if neither the choice of test segments explains it (paired bootstrap: the
largest p over seeds, corrected for the number of methods) nor the choice of seeds (their spread).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from statistics import fmean, stdev
from typing import Self

from kdray.config.evaluation import OWN_METRICS
from kdray.errors import DataError
from kdray.reporting.facts import StudyFacts
from kdray.scoring.result import Result, Score, read_hyps
from kdray.scoring.segments import Numbers, compare_means, read_segments
from kdray.scoring.significance import SeedComparison, compare_seeds
from kdray.statistics.multiplicity import LEVEL
from kdray.text.prefix import split_references

SCORE_TOLERANCE = 0.01  # BLEU points by which a recorded score may differ from that of its file

BySeed = Mapping[int, Result]  # by seed, of one method at one size and length


class Finding(StrEnum):
    """What a difference is worth."""

    SIGNIFICANT = "significant"  # corrected p below LEVEL, and larger than the seed spread
    NOT_SIGNIFICANT = "n.s."
    SEED_NOISE_UNKNOWN = "seed noise unknown"  # p below LEVEL, but one seed only
    UNTESTED = "untested"


@dataclass(frozen=True)
class Spread:
    """Mean over seeds, and their standard deviation (n - 1), which is None with one seed."""

    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of at least one value."""
        return cls(mean=fmean(values), sd=stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class Change:
    """A method minus the baseline in a metric from outside, over the seeds that both have."""

    mean: float
    higher_is_better: bool
    p_uncorrected: float | None  # the largest over seeds; None: not tested
    p: float | None = None  # after Holm's correction over the table

    @property
    def is_better(self) -> bool:
        """Whether the metric prefers the method."""
        return (self.mean > 0) == self.higher_is_better and self.mean != 0


@dataclass(frozen=True)
class Difference:
    """A method minus the baseline, in metric points, over the seeds that both have."""

    bleu: float
    chrf: float
    sd: float | None  # of BLEU: √(sd² of the method + sd² of the baseline); None with one seed
    seeds: tuple[int, ...]
    ci_low: float | None  # ends of a range that covers the 95 % intervals of all seeds
    ci_high: float | None
    p_uncorrected: float | None  # the largest over seeds; None: not tested
    p: float | None = None  # after Holm's correction over the table
    others: Mapping[str, Change] = field(default_factory=dict)  # by metric from outside

    @property
    def finding(self) -> Finding:
        """What the difference is worth."""
        if self.p is None:
            return Finding.UNTESTED
        if self.p >= LEVEL:
            return Finding.NOT_SIGNIFICANT
        if self.sd is None:
            return Finding.SEED_NOISE_UNKNOWN
        return Finding.SIGNIFICANT if abs(self.bleu) > self.sd else Finding.NOT_SIGNIFICANT

    @property
    def is_finding(self) -> bool:
        """Whether it is significant, in either direction."""
        return self.finding is Finding.SIGNIFICANT


def difference_to(
    baseline: BySeed, runs: BySeed, *, study: StudyFacts, test: bool
) -> Difference | None:
    """Compare runs of the same seed; None when no seed is common. `p` is not corrected yet.

    Raises:
        DataError: a file of translations does not belong to the references, or does not give the
            score that is recorded for it.
    """
    seeds = sorted(runs.keys() & baseline.keys())
    if not seeds:
        return None
    pairs = [(runs[seed], baseline[seed]) for seed in seeds]
    comparison = _compare(pairs, study) if test else None
    return Difference(
        bleu=fmean(mine.bleu - other.bleu for mine, other in pairs),
        chrf=fmean(mine.chrf - other.chrf for mine, other in pairs),
        sd=math.hypot(*(stdev(run.bleu for run in side) for side in zip(*pairs, strict=True)))
        if len(pairs) > 1
        else None,
        seeds=tuple(seeds),
        ci_low=comparison.ci_low if comparison else None,
        ci_high=comparison.ci_high if comparison else None,
        p_uncorrected=comparison.p_value if comparison else None,
        others=_others(pairs, study, test=test),
    )


def references(study: StudyFacts, result: Result) -> list[str]:
    """What the lines of a result's translations are compared with: whole, or after a prefix."""
    split = study.scenarios[result.cell.point].refs[result.split]
    share = result.condition.share
    return [part.continuation for part in split_references(split, share)]


def seed_notes(baseline: BySeed, runs: BySeed, *, baseline_name: str) -> list[str]:
    """What to tell the reader if a method and the baseline do not have the same seeds."""
    first = next(iter(runs.values()))
    name = f"{first.cell.method} ({first.cell.group})"
    length = "" if first.cell.length is None else " and length"
    common = runs.keys() & baseline.keys()
    if not baseline:
        told = f"there is no {baseline_name} of this size{length}, so no difference and no p."
    elif not common:
        told = (
            f"no seed in common with {baseline_name} (seeds {_listed(runs)} and "
            f"{_listed(baseline)}), so no difference and no p."
        )
    elif runs.keys() != baseline.keys():
        told = (
            f"difference and p are over the common seeds {_listed(common)}; it has "
            f"{_listed(runs)}, {baseline_name} has {_listed(baseline)}."
        )
    else:
        return []
    return [f"{name}: {told}"]


def _compare(pairs: Sequence[tuple[Result, Result]], study: StudyFacts) -> SeedComparison:
    """Compare runs, each with the baseline's of its seed."""
    first = pairs[0][0]
    refs = references(study, first)
    comparison = compare_seeds(
        {other.cell.seed: _hyps(other, refs) for _, other in pairs},
        {mine.cell.seed: _hyps(mine, refs) for mine, _ in pairs},
        refs,
        bleu_tokenize=study.scenarios[first.cell.point].bleu_tokenize,
        samples=study.bootstrap_samples,
    )
    assert comparison is not None, "each pair has a seed"
    for mine, other in pairs:
        _check_recorded(mine, comparison.by_seed[mine.cell.seed].system_score)
        _check_recorded(other, comparison.by_seed[mine.cell.seed].baseline_score)
    return comparison


def _others(
    pairs: Sequence[tuple[Result, Result]], study: StudyFacts, *, test: bool
) -> dict[str, Change]:
    """The change in every metric from outside that all of the runs have."""
    runs = [run for pair in pairs for run in pair]
    common = [name for name in runs[0].scores if all(name in run.scores for run in runs)]
    lines = len(references(study, runs[0]))

    def change(name: str) -> Change:
        sides = {mine.cell.seed: (mine.scores[name], other.scores[name]) for mine, other in pairs}
        by_seed = {
            seed: compare_means(
                _segments(other, lines), _segments(mine, lines), samples=study.bootstrap_samples
            )
            for seed, (mine, other) in sides.items()
            if test
        }
        return Change(
            mean=fmean(mine.value - other.value for mine, other in sides.values()),
            higher_is_better=runs[0].scores[name].higher_is_better,
            p_uncorrected=SeedComparison(by_seed).p_value if by_seed else None,
        )

    return {name: change(name) for name in common if name not in OWN_METRICS}


def _segments(score: Score, lines: int) -> Numbers:
    assert score.segments_path is not None, "every scorer from outside stores them"
    return read_segments(Path(score.segments_path), lines=lines)


def _hyps(result: Result, refs: Sequence[str]) -> tuple[str, ...]:
    assert result.hyps_path is not None, "it has BLEU"
    hyps = read_hyps(Path(result.hyps_path))
    if len(hyps) != len(refs):
        raise DataError(
            f"{result.hyps_path}: {len(hyps)} translations, but {result.split} has {len(refs)} "
            "references; evaluate the model again"
        )
    return hyps


def _check_recorded(result: Result, bleu: float) -> None:
    """Raise DataError if a file has another score: nothing else shows that its lines moved."""
    if abs(result.bleu - bleu) > SCORE_TOLERANCE:
        raise DataError(
            f"{result.hyps_path}: gives BLEU {bleu:.2f}, but the {result.where} records "
            f"{result.bleu:.2f}; the file or the references changed: evaluate the model again"
        )


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))
