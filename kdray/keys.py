"""What names the things that steps make and read.

The fingerprint of a key covers the stage's own slice of the recipe, the fingerprints of what it
reads and a version that is raised by hand when the stage's code changes its result. Where and how
wide a stage runs is no part of it.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from kdray.storage.hashed import Hashed
from kdray.storage.record import canonical_json, plain


@dataclass(frozen=True)
class Key:
    """What an artifact is: its stage and everything that decides its content."""

    stage: str
    version: int
    recipe: Mapping[str, Any]  # the slice of the recipe, as JSON values
    inputs: Mapping[str, str] = field(default_factory=dict)  # name -> fingerprint or checksum

    @cached_property  # a plan asks for it again and again
    def fingerprint(self) -> str:
        """16 hexadecimal digits."""
        content = canonical_json({"stage": self.stage, **self.content()})
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def place(self) -> str:
        """Where a storage keeps the artifact: `<stage>/<fingerprint>`."""
        return f"{self.stage}/{self.fingerprint}"

    def content(self) -> dict[str, Any]:
        """What the fingerprint stands for, within its stage, as JSON values."""
        content = {"version": self.version, "recipe": self.recipe, "inputs": self.inputs}
        return dict(plain(content))


@dataclass(frozen=True, slots=True)
class Brought:
    """A folder that a user brought. It is read where it is, by its absolute path."""

    path: Path
    fingerprint: str  # stands for its content
    files: Hashed = field(default=Hashed(), repr=False, compare=False)  # whose content that is


Source = Key | Brought
"""What a step reads: an artifact of the store, or what a user brought."""


def keys_among(*sources: Source | None) -> tuple[Key, ...]:
    """The artifacts among sources."""
    return tuple(source for source in sources if isinstance(source, Key))


Fetch = Callable[[Source], Path]
"""Gives the local folder of what is named."""
