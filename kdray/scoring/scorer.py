"""What a scorer from outside is: it is given segments, and gives each a number."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kdray.config.outside import failures, outside_kinds
from kdray.errors import ConfigError, StageFailed


@dataclass(frozen=True, slots=True)
class Segment:
    """A source, what a model wrote for it, and the reference; each on one line."""

    src: str
    hyp: str
    ref: str


class ScorerFailed(StageFailed):
    """A scorer did not run through.

    stderr: what it said meanwhile. hung: whether it was killed at its time limit.
    """

    def __init__(self, reason: str, stderr: str = "", *, hung: bool = False) -> None:
        super().__init__(reason)
        self.stderr, self.hung = stderr, hung


def _always(config: object) -> None:
    """Nothing has to be there beforehand."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """A metric that is no part of kdray.

    Attributes:
        score: is given the scorer's configuration and segments. -> a finite number for each.
        check: raises ConfigError if something is missing that it needs; it is asked before anything
            is made.
        version: to be raised when it gives other numbers for the same configuration.
    """

    score: Callable[[Any, Sequence[Segment]], Sequence[float]]
    check: Callable[[Any], None] = _always
    version: int = 1


GROUP = "kdray.scorers"
"""Entry points of other packages: a `Scorer` for each kind."""


def outside_scorer(kind: str) -> Scorer:
    """The scorer that an installed package has for a kind of configuration.

    Raises:
        ConfigError: none has.
    """
    scorer = outside_kinds(GROUP).get(kind)
    if not isinstance(scorer, Scorer):
        shown = "nothing that can be loaded" if scorer is None else repr(scorer)
        problem = (
            f"recipe.evaluation.scorers: the entry point {kind} in the group {GROUP} gives "
            f"{shown}; it must name a kdray.scoring.scorer.Scorer"
        )
        raise ConfigError("\n".join((problem, *failures)))
    return scorer
