"""What came of the trials of a search, and what stopping some of them early may have cost."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from scipy.stats import kendalltau

from kdray.config.objectives import ObjectiveConfig, Objectives, Scores, winner_of
from kdray.config.space import Values

FEWEST = 3  # finished trials, from which rungs are compared with ends


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What came of a trial.

    Attributes:
        values: the point of the space.
        score: the first of the objectives; None when it failed.
        step: its last update.
        fingerprint: of its student.
        error: why it failed.
        scores: all objectives, by metric, at its last validation; of a training with a patience of
            its own at the best one, whose weights it keeps.
        curve: update and score of each validation.
        updates: of its whole training.
        is_stopped: whether it was ended before its student was finished.
    """

    values: Values
    score: float | None
    step: int
    fingerprint: str
    error: str | None = None
    scores: Scores = field(default_factory=dict)
    curve: Sequence[tuple[int, float]] = ()
    updates: int = 0
    is_stopped: bool = False

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TrialResult":
        """The inverse of `to_json`."""
        curve = [(int(step), float(score)) for step, score in data["curve"]]
        return cls(**{**data, "curve": curve})

    @property
    def is_finished(self) -> bool:
        """Whether its student is made: only such a trial can win."""
        return self.error is None and not self.is_stopped and self.score is not None


@dataclass(frozen=True, slots=True)
class Rung:
    """How well the scores at an update foretell those at the end.

    Attributes:
        step: the update.
        compared: finished trials that have a score there.
        correlation: Kendall's tau-b of their ranks there and at the end; None: too few, or all
            equal.
    """

    step: int
    compared: int
    correlation: float | None


@dataclass(frozen=True, slots=True)
class Hope:
    """A stopped trial that might have won: with the largest gain that a finished trial made.

    Attributes:
        number: its place among all trials.
        step: where it was stopped.
        reached: its score there.
        highest: what it would have reached with that gain; of a loss the lowest.
    """

    number: int
    step: int
    reached: float
    highest: float


@dataclass(frozen=True, slots=True)
class Regret:
    """What early stopping saved, and what it may have cost."""

    stopped: int
    saved: float  # share of all updates that were not made
    rungs: tuple[Rung, ...]
    hopes: tuple[Hope, ...]

    @property
    def sentences(self) -> list[str]:
        """In words; empty when nothing was stopped."""
        if not self.stopped:
            return []
        trials = "1 trial was" if self.stopped == 1 else f"{self.stopped} trials were"
        said = [f"{trials} stopped early, which saved {self.saved:.0%} of all updates."]
        known = [rung for rung in self.rungs if rung.correlation is not None]
        said += [
            f"At update {rung.step} the ranks of {rung.compared} finished trials had a correlation "
            f"(Kendall's tau) of {rung.correlation:.2f} with those at the end."
            for rung in known
        ]
        if not known:
            return [
                *said,
                "Too few trials were finished to tell how well early scores foretell late ones.",
            ]
        if not self.hopes:
            return [*said, "No stopped trial would have won with the gain of any finished one."]
        names = ", ".join(
            f"{hope.number} (from {hope.reached:.4g} at update {hope.step} to {hope.highest:.4g})"
            for hope in self.hopes
        )
        return [
            *said,
            f"{len(self.hopes)} of them might have won, had they gained as much as the finished "
            f"trial that gained most from there: trial {names}.",
        ]


def regret_of(trials: Sequence[TrialResult], objective: ObjectiveConfig) -> Regret:
    """Judge early stopping by the trials that were finished. Trials are numbered from 1."""
    finished = [trial for trial in trials if trial.is_finished]
    stopped = [(n, t) for n, t in enumerate(trials, start=1) if t.is_stopped and t.curve]
    steps = sorted({trial.curve[-1][0] for _, trial in stopped})
    planned = sum(trial.updates for trial in trials)
    unmade = sum(max(0, trial.updates - trial.step) for _, trial in stopped)
    hopes = [
        hope
        for number, trial in stopped
        if (hope := _hope(number, trial, finished, objective)) is not None
    ]
    return Regret(
        stopped=len(stopped),
        saved=unmade / planned if planned else 0.0,
        rungs=tuple(_rung(step, finished) for step in steps),
        hopes=tuple(hopes),
    )


def _rung(step: int, finished: Sequence[TrialResult]) -> Rung:
    pairs = [
        (dict(trial.curve)[step], trial.curve[-1][1])
        for trial in finished
        if step in dict(trial.curve) and trial.curve[-1][0] > step
    ]
    correlation = None
    if len(pairs) >= FEWEST and all(len(set(side)) > 1 for side in zip(*pairs, strict=True)):
        correlation = float(kendalltau(*zip(*pairs, strict=True)).statistic)
    return Rung(step, len(pairs), correlation)


def _hope(
    number: int, trial: TrialResult, finished: Sequence[TrialResult], objective: ObjectiveConfig
) -> Hope | None:
    step, reached = trial.curve[-1]
    gains = [
        objective.sign * (other.curve[-1][1] - dict(other.curve)[step])
        for other in finished
        if step in dict(other.curve)
    ]
    if len(gains) < FEWEST:
        return None
    highest = reached + objective.sign * max(gains)
    best = max(objective.sign * other.curve[-1][1] for other in finished)
    return Hope(number, step, reached, highest) if objective.sign * highest > best else None


def winner_among(trials: Sequence[TrialResult], objectives: Objectives) -> TrialResult | None:
    """The finished trial that the objectives choose; None: none that keeps the limits."""
    finished = {number: each.scores for number, each in enumerate(trials) if each.is_finished}
    chosen = winner_of(finished, objectives)
    return None if chosen is None else trials[chosen]
