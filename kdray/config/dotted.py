"""Values within nested mappings, by dotted keys."""

from collections.abc import Mapping
from typing import Any


def set_dotted(data: dict[str, Any], dotted: str, value: object) -> None:
    """Set one value in place; mappings that are missing on the way are made.

    Raises:
        ValueError: something on the way is no mapping.
    """
    *path, last = dotted.split(".")
    here = data
    for key in path:
        inner = here.setdefault(key, {})
        if inner is None:
            inner = here[key] = {}
        if not isinstance(inner, dict):
            raise ValueError(f"{key!r} holds {inner!r}, which has no keys of its own")
        here = inner
    here[last] = value


def get_dotted(data: Mapping[str, Any], dotted: str) -> Any:  # noqa: ANN401 (whatever is there)
    """The value at a dotted key that is there."""
    here: Any = data
    for key in dotted.split("."):
        here = here[key]
    return here
