"""Metrics from outside: a command that is run, or what an installed package brings."""

import re
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from kdray.config.base import Frozen
from kdray.config.outside import with_outside
from kdray.errors import redact

_SECRET = re.compile(r"token|secret|passw|credential|api_?key", re.IGNORECASE)


class ScorerConfig(Frozen):
    """A metric that gives each segment a number; the score of a test set is their mean.

    A subclass sets `kind` to a Literal of its own. It stands under the entry points
    `kdray.config.scorers`, and the scorer itself under `kdray.scorers`.
    """

    kind: str
    # what was measured, for results and report: the metric, its version, its model
    signature: Annotated[str, Field(min_length=1, max_length=200)]
    higher_is_better: bool = True


class CommandScorerConfig(ScorerConfig):
    """A command that reads a segment a line and prints a number a line. No shell reads it."""

    kind: Literal["command"]
    # the program and its arguments
    command: tuple[str, ...] = Field(min_length=1)
    input: Literal["json", "tsv"] = "json"
    environment: dict[str, str] = Field(default_factory=dict)  # added to that of kdray
    timeout_seconds: float = Field(default=3600.0, gt=0)  # for all translations of a model

    @model_validator(mode="after")
    def _holds_no_secret(self) -> Self:
        """Configurations stand in the report and in MLflow."""
        for name in self.environment:
            if _SECRET.search(name):
                raise ValueError(
                    f"environment.{name}: its value would stand in the report; leave it out here "
                    "and export it before kdray is started, a scorer inherits it"
                )
        for part in (*self.command, *self.environment.values()):
            if redact(part) != part:
                raise ValueError(
                    f"{redact(part)!r} holds credentials, which would stand in the report; let the "
                    "command read them from an environment variable that is set outside"
                )
        return self


if TYPE_CHECKING:
    AnyScorerConfig = CommandScorerConfig | ScorerConfig
else:
    AnyScorerConfig = with_outside(
        CommandScorerConfig, "kdray.config.scorers", base=ScorerConfig, beside="kdray.scorers"
    )
