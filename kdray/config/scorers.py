"""Metrics from outside: a command that is run, or what an installed package brings."""

from typing import TYPE_CHECKING, Literal

from kdray.config.line_command import LineCommandConfig
from kdray.config.outside import with_outside
from kdray.config.scorer import ScorerConfig as ScorerConfig


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
