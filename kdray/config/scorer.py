"""What a metric from outside is configured with.

It imports no union of kinds, so that the packages that complete those can import it first.
"""

from typing import Annotated

from pydantic import Field

from kdray.config.base import Frozen


class ScorerConfig(Frozen):
    """A metric that gives each segment a number; the score of a test set is their mean.

    A subclass sets `kind` to a Literal of its own. It stands under the entry points
    `kdray.config.scorers`, and the scorer itself under `kdray.scorers`.
    """

    kind: str
    # what was measured, for results and report: the metric, its version, its model
    signature: Annotated[str, Field(min_length=1, max_length=200)]
    higher_is_better: bool = True
