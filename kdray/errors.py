"""The exceptions that kdray raises on purpose.

Each message says what went wrong, where, what was found there, and how to repair it. The command
lines print the message alone and end with the exception's `exit_code`.
"""

import re
from collections.abc import Mapping
from typing import Any

_USERINFO = re.compile(r"://(?!/)\S*@")
_SECRETS = "password|passwd|pwd|pass|secret|token|key|signature|credential|auth|access|sig"
_SECRET = re.compile(rf"([?&][\w-]*(?:{_SECRETS})=)[^\s&'\"]*", re.IGNORECASE)


def redact(text: str) -> str:
    """The text without the credentials of the URIs in it."""
    return _USERINFO.sub("://***@", _SECRET.sub(r"\1***", text))


def redacted(value: Any) -> Any:  # noqa: ANN401 (as nested as plain data is)
    """Plain data without the credentials of the URIs in its texts."""
    match value:
        case str():
            return redact(value)
        case Mapping():
            return {name: redacted(each) for name, each in value.items()}
        case list() | tuple():
            return [redacted(each) for each in value]
    return value


class KdrayError(Exception):
    """Base of all errors that are reported to a user without a traceback."""

    exit_code = 1


class InputError(KdrayError):
    """Something that a user gave cannot be used: a configuration, a file, a path, a cluster."""

    exit_code = 2


class ConfigError(InputError):
    """A configuration value is misspelt, out of range, or contradicts another."""


class DataError(InputError):
    """A corpus, tokenizer or model that was brought cannot be used."""


class ArtifactDamaged(KdrayError):
    """A stored artifact does not agree with its own record."""


class StageFailed(KdrayError):
    """A stage ended without its whole result; what it finished is kept for the next run."""


class TrainingDiverged(StageFailed):
    """The loss or a gradient became non-finite."""


class LimitReached(KdrayError):
    """A command was told how much it may use, and has; what it made is kept."""

    exit_code = 3


class LeaseLost(StageFailed):
    """Another process took over what this one was making, since it seemed to be dead."""


class StorageLost(StageFailed):
    """A storage that is not a folder does not answer any more; what is in it is untouched."""
