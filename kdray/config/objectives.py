"""Objectives of a search: what its trials are judged by, and which of them wins."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, model_validator

from kdray.config.base import Frozen

QUALITIES = ("dev/bleu", "dev/chrf", "dev/loss")
Metric = Literal["dev/bleu", "dev/chrf", "dev/loss", "parameters", "latency"]
LESS_IS_BETTER: Mapping[str, bool] = {
    "dev/bleu": False,
    "dev/chrf": False,
    "dev/loss": True,
    "parameters": True,
    "latency": True,
}
DIRECTIONS = {True: "minimise", False: "maximise"}

Scores = Mapping[str, float]
"""Of each metric what a trial reached."""
Item = TypeVar("Item")


class ObjectiveConfig(Frozen):
    """A metric, how much of it the winner must have, and how much may be given up for the next one.

    `parameters` is the number of weights; `latency` milliseconds for one sentence on one CPU, see
    `kdray.model.latency`.
    """

    metric: Metric
    direction: Literal["minimise", "maximise"] | None = None  # None: the metric's own
    limit: float | None = None  # the most, or of BLEU and chrF the least, that the winner may have
    within: float = Field(default=0.0, ge=0)  # of the best: so near ones compete on the next metric

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, data: object) -> object:
        return {"metric": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _has_its_direction(self) -> Self:
        own = DIRECTIONS[self.less_is_better]
        if self.direction is not None and self.direction != own:
            raise ValueError(
                f"{self.metric} would {self.direction}, and better is to {own} it; leave "
                "`direction` out"
            )
        return self

    @property
    def less_is_better(self) -> bool:
        """Whether it is minimised."""
        return LESS_IS_BETTER[self.metric]

    @property
    def sign(self) -> int:
        """With this factor, more is better."""
        return -1 if self.less_is_better else 1

    def keeps_limit(self, scores: Scores) -> bool:
        """Whether a trial may win."""
        return self.limit is None or self.sign * scores[self.metric] >= self.sign * self.limit


Objectives = Sequence[ObjectiveConfig]


def check_objectives(objectives: Objectives) -> None:
    """Raise ValueError when objectives contradict one another, or nothing of them is learned."""
    metrics = [each.metric for each in objectives]
    for metric in metrics:
        if metrics.count(metric) > 1:
            raise ValueError(
                f"objectives name {metric} twice, and a metric has one direction and one limit; "
                "name it once"
            )
    if metrics[0] not in QUALITIES:
        raise ValueError(
            f"the first objective is {metrics[0]}, and a search needs a quality first, by which "
            f"trials are ranked and stopped; begin with one of {', '.join(QUALITIES)}"
        )
    if objectives[-1].within:
        raise ValueError(
            f"objectives: within {objectives[-1].within:g} of {metrics[-1]} lets trials compete on "
            "the next objective, and it is the last one; leave it out, or name another objective "
            "after it"
        )


def beats(one: Scores, other: Scores, objectives: Objectives) -> bool:
    """Whether a trial is nowhere worse than another and somewhere better: it dominates it."""
    gains = [each.sign * (one[each.metric] - other[each.metric]) for each in objectives]
    return all(gain >= 0 for gain in gains) and any(gain > 0 for gain in gains)


def pareto_front(trials: Mapping[Item, Scores], objectives: Objectives) -> list[Item]:
    """The trials that no other one beats, in the order given."""
    return [
        item
        for item, scores in trials.items()
        if not any(beats(other, scores, objectives) for other in trials.values())
    ]


def winner_of(trials: Mapping[Item, Scores], objectives: Objectives) -> Item | None:
    """The point of the front that the objectives choose; None: none keeps the limits.

    Of those that keep all limits, the ones within `within` of the best in the first objective are
    left; of these those in the second, and so on. The first of what is left wins.
    """
    left = {
        item: scores
        for item, scores in trials.items()
        if all(each.keeps_limit(scores) for each in objectives)
    }
    if not left:
        return None
    left = {item: left[item] for item in pareto_front(left, objectives)}
    for each in objectives:
        best = max(each.sign * scores[each.metric] for scores in left.values())
        left = {
            item: scores
            for item, scores in left.items()
            if each.sign * scores[each.metric] >= best - each.within
        }
    return next(iter(left))


def rule_in_words(objectives: Objectives) -> str:
    """How the winner is chosen, as a clause."""
    limits = [
        f"{each.metric} at {'most' if each.less_is_better else 'least'} {each.limit:g}"
        for each in objectives
        if each.limit is not None
    ]
    parts = [
        f"within {each.within:g} of the best {each.metric}"
        if each.within
        else f"best {each.metric}"
        for each in objectives
    ]
    kept = f"of the trials with {' and '.join(limits)}: " if limits else ""
    return f"{kept}{', then '.join(parts)}"


def scores_in(row: Mapping[str, Any], objectives: Objectives) -> dict[str, float]:
    """Of a row of numbers those of the objectives."""
    return {each.metric: float(row[each.metric]) for each in objectives}
