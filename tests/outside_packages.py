"""The packages in `tests/outside`, as if they were installed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kdray.config.outside import outside_kinds

OUTSIDE = Path(__file__).parent / "outside"
INSTALLED = os.pathsep.join((str(OUTSIDE), str(OUTSIDE / "installed")))
"""What has to stand in PYTHONPATH. Only with the second folder are their entry points seen."""


@contextmanager
def installed() -> Iterator[None]:
    """Here and in the processes that are started from here."""
    with pytest.MonkeyPatch.context() as patch:
        for folder in INSTALLED.split(os.pathsep):
            patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", INSTALLED, prepend=os.pathsep)
        outside_kinds.cache_clear()
        yield
    outside_kinds.cache_clear()
