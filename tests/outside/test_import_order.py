"""A kind is there whichever module of its package is imported first."""

import os
import subprocess
import sys

import pytest
from outside_packages import INSTALLED, OUTSIDE

CONFIGS = sorted(path.stem for path in (OUTSIDE / "kdray_toys").glob("*_config.py"))
LOOK = """
import importlib, sys
importlib.import_module(f"kdray_toys.{sys.argv[1]}")
import kdray.config.experiment
from kdray.config.outside import failures
print(failures)
"""


@pytest.mark.parametrize("module", CONFIGS)
def test_no_kind_is_lost(module):
    done = subprocess.run(
        [sys.executable, "-c", LOOK, module], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([INSTALLED, *sys.path])},
    )  # fmt: skip
    assert done.stdout == "[]\n", done.stderr
