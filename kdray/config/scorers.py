"""Metrics from outside: a command that is run, or what an installed package brings."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from kdray.config.base import Frozen
from kdray.config.line_command import LineCommandConfig
from kdray.config.outside import with_outside


class ScorerConfig(Frozen):
    """A metric that gives each segment a number; the score of a test set is their mean.

    A subclass sets `kind` to a Literal of its own. It stands under the entry points
    `kdray.config.scorers`, and the scorer itself under `kdray.scorers`.
    """

    kind: str
    # what was measured, for results and report: the metric, its version, its model
    signature: Annotated[str, Field(min_length=1, max_length=200)]
    higher_is_better: bool = True


class CommandScorerConfig(LineCommandConfig, ScorerConfig):
    """A command that reads a segment a line and prints a number a line; once for each model."""

    kind: Literal["command"]
    input: Literal["json", "tsv"] = "json"


if TYPE_CHECKING:
    AnyScorerConfig = CommandScorerConfig | ScorerConfig
else:
    AnyScorerConfig = with_outside(
        CommandScorerConfig, "kdray.config.scorers", base=ScorerConfig, beside="kdray.scorers"
    )
