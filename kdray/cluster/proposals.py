"""What Ray Tune tries next, when it stops a trial, and when it stops them all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from ray import tune
from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from kdray.config.objectives import Scores
from kdray.config.search import SearchConfig
from kdray.config.space import Values, grid
from kdray.statistics.optuna_space import STUDY, as_params, study_with, suggested

STEP, TOKENS, SECONDS = "step", "tokens", "seconds"
"""What a trial reports beside its objectives: its update, and what it has used up to there."""
REDUCTION = 4  # of ASHA: at a rung one trial of so many goes on
Told = Sequence[tuple[Values, Scores]]


def key_of(number: int) -> str:
    """The name of an objective in a report to Tune, by its place."""
    return f"objective_{number}"


def mode_of(config: SearchConfig, number: int = 0) -> str:
    """Whether more of an objective is better, in Ray's word."""
    return "min" if config.objectives[number].less_is_better else "max"


def proposer(config: SearchConfig, *, parallel: int, earlier: Told) -> ConcurrencyLimiter:
    """What proposes points: all algorithms draw by one function, which knows the conditions.

    With one objective Tune tells Optuna of each report, with several of the last one alone.
    """
    names = [key_of(number) for number, _ in enumerate(config.objectives)]
    modes = [mode_of(config, number) for number, _ in enumerate(config.objectives)]
    storage = InMemoryStorage()
    study = study_with(config, earlier, storage=storage)
    firsts = grid(config) if config.algorithm == "grid" else config.starts
    for start in firsts:
        study.enqueue_trial(as_params(config, start))
    searcher = OptunaSearch(
        space=partial(suggested, config),
        metric=names if len(names) > 1 else names[0],
        mode=modes if len(modes) > 1 else modes[0],
        sampler=_sampler(config),
        storage=storage,
        study_name=STUDY,
    )
    return ConcurrencyLimiter(searcher, max_concurrent=parallel)


def _sampler(config: SearchConfig) -> BaseSampler:
    match config.algorithm:
        case "tpe":
            # Optuna's own 10 would leave most small searches to chance.
            at_random = min(10, max(2, config.trials // 3))
            return TPESampler(seed=config.seed, n_startup_trials=at_random)
        case "nsga2":
            population = min(50, max(4, config.trials // 4))
            return NSGAIISampler(seed=config.seed, population_size=population)
        case _:
            return RandomSampler(seed=config.seed)


def scheduler(config: SearchConfig, *, first: int, last: int) -> Any:  # noqa: ANN401
    """What stops bad trials by the first objective; None is Tune's own: first come, first served.

    Args:
        config: of the search.
        first: the update of the earliest validation, at which a trial can be stopped.
        last: most updates of a trial.
    """
    by: dict[str, Any] = {"time_attr": STEP, "metric": key_of(0), "mode": mode_of(config)}
    match config.stopping:
        case "asha":
            # One more than there are: or the last report of a trial would count as stopped.
            return ASHAScheduler(
                **by, max_t=last + 1, grace_period=first, reduction_factor=REDUCTION
            )
        case "median":
            # A time slice that never ends: no trial is set aside to wait for others.
            return MedianStoppingRule(**by, grace_period=first, min_time_slice=float("inf"))
        case "none":
            return None


@dataclass
class BudgetStopper(tune.Stopper):  # type: ignore[misc]
    """Ends a search when its trials have used its target tokens, or its hours of training."""

    tokens: float
    seconds: float
    used: dict[str, tuple[float, float]] = field(default_factory=dict)  # by trial

    @classmethod
    def of(cls, config: SearchConfig) -> "BudgetStopper":
        """That of a search, which may have no such budget."""
        hours = config.train_hours
        seconds = float("inf") if hours is None else hours * 3600
        return cls(config.target_tokens or float("inf"), seconds)

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Note what a trial has used; it is stopped with the others, and not alone."""
        self.used[trial_id] = float(result.get(TOKENS, 0)), float(result.get(SECONDS, 0))
        return False

    def stop_all(self) -> bool:
        """Whether the budget is used up."""
        tokens = sum(tokens for tokens, _ in self.used.values())
        seconds = sum(seconds for _, seconds in self.used.values())
        return tokens >= self.tokens or seconds >= self.seconds
