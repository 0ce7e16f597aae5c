"""Which checkpoint is the best on dev, and whether to wait for a better one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from kdray.config.training import EarlyStoppingConfig

LOSS = "dev/loss"  # the metric if no early stopping names one


@dataclass(frozen=True, slots=True)
class Selection:
    """The best validation so far. It is stored in every checkpoint.

    Attributes:
        metric: its name in the history.
        step: the update of the best validation; 0 before the first.
        value: the metric at that update.
        mark: the value that must be improved by `min_delta` for the run to go on.
        waited: validations since `mark` was last improved.
        stopped: whether patience is exhausted.
    """

    metric: str = LOSS
    step: int = 0
    value: float | None = None
    mark: float | None = None
    waited: int = 0
    stopped: bool = False

    @classmethod
    def start(cls, early: EarlyStoppingConfig | None) -> "Selection":
        """The selection before the first validation."""
        return cls() if early is None else cls(metric=f"dev/{early.metric}")

    def after(
        self, step: int, metrics: Mapping[str, float], early: EarlyStoppingConfig | None
    ) -> "Selection":
        """The selection after a validation. A metric that is NaN is never an improvement."""
        if early is None and self.metric not in metrics:
            return self
        value = metrics[self.metric]
        best = replace(self, step=step, value=value) if self._better(value, self.value) else self
        if early is None:
            return best
        if self._better(value, self.mark, by=early.min_delta):
            return replace(best, mark=value, waited=0)
        waited = self.waited + 1
        return replace(best, waited=waited, stopped=waited >= early.patience)

    def _better(self, value: float, than: float | None, *, by: float = 0.0) -> bool:
        if math.isnan(value):
            return False
        if than is None:
            return True
        gain = than - value if self.metric == LOSS else value - than
        return gain > 0 and gain >= by
