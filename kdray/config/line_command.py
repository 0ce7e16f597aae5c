"""The configuration of a command that reads lines and prints lines."""

import re
from typing import Self

from pydantic import Field, model_validator

from kdray.config.base import Frozen
from kdray.errors import redact

_SECRET = re.compile(r"token|secret|passw|credential|api_?key", re.IGNORECASE)


class LineCommandConfig(Frozen):
    """A program with its arguments, its environment and its time limit. No shell reads it."""

    # the program and its arguments
    command: tuple[str, ...] = Field(min_length=1)
    environment: dict[str, str] = Field(default_factory=dict)  # added to that of kdray
    timeout_seconds: float = Field(default=3600.0, gt=0)  # for all lines of a call

    @model_validator(mode="after")
    def _holds_no_secret(self) -> Self:
        """Configurations stand in the report and in MLflow."""
        for name in self.environment:
            if _SECRET.search(name):
                raise ValueError(
                    f"environment.{name}: its value would stand in the report; leave it out here "
                    "and export it before kdray is started, a command inherits it"
                )
        for part in (*self.command, *self.environment.values()):
            if redact(part) != part:
                raise ValueError(
                    f"{redact(part)!r} holds credentials, which would stand in the report; let the "
                    "command read them from an environment variable that is set outside"
                )
        return self
