"""Where on this machine things are kept that can be had again: `$XDG_CACHE_HOME/kdray`."""

import os
from pathlib import Path


def cache_folder(name: str = "") -> Path:
    """The folder of that name among what is kept, or that of all of it; it may be absent."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kdray" / name
