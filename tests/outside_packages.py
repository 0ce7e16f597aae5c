"""The packages in `tests/outside`, as if they were installed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kdray.config.outside import outside_kinds

OUTSIDE = Path(__file__).parent / "outside"


@contextmanager
def installed() -> Iterator[None]:
    """Here and in the processes that are started from here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(OUTSIDE)
        patch.setenv("PYTHONPATH", f"{OUTSIDE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        outside_kinds.cache_clear()
        yield
    outside_kinds.cache_clear()
