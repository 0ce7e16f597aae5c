"""A kind is there whichever module of its package is imported first."""

import os
import subprocess
import sys

import pytest
from outside_packages import INSTALLED, OUTSIDE

pytestmark = pytest.mark.slow

CONFIGS = sorted(path.stem for path in (OUTSIDE / "kdray_toys").glob("*_config.py"))
LOOK = """
import importlib, sys
importlib.import_module(f"kdray_toys.{sys.argv[1]}")
import kdray.config.experiment
from kdray.config.outside import failures
print(failures)
"""
ALL_IN_ONE = """
from typing import Literal
from kdray.config.foreign_teachers import OutsideTeacherConfig
from kdray.config.methods.base import BaseMethodConfig
from kdray.config.needs import Needs
from kdray.config.scorer import ScorerConfig

class M(BaseMethodConfig):
    kind: Literal["one_m"]

class S(ScorerConfig):
    kind: Literal["one_s"]

class T(OutsideTeacherConfig):
    kind: Literal["one_t"]

    def checksum(self):
        return "one"
"""
ENTRIES = "".join(
    f"[kdray.config.{group}s]\none_{kind} = all_in_one:{kind.upper()}\n"
    f"[{beside}]\none_{kind} = all_in_one:{kind.upper()}\n"
    for group, beside, kind in [
        ("method", "kdray.methods", "m"), ("scorer", "kdray.scorers", "s"),
        ("teacher", "kdray.teacher", "t"),
    ]
)  # fmt: skip


@pytest.mark.parametrize("first", ["all_in_one", "kdray.config.scorers", "kdray.config.teacher"])
def test_one_module_may_hold_the_configurations_of_all_kinds(tmp_path, first):
    info = tmp_path / "one-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: one\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    (tmp_path / "all_in_one.py").write_text(ALL_IN_ONE)
    look = LOOK.replace("kdray_toys.{sys.argv[1]}", "{sys.argv[1]}")
    done = subprocess.run(
        [sys.executable, "-c", look, first], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )  # fmt: skip
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("module", CONFIGS)
def test_no_kind_is_lost(module):
    done = subprocess.run(
        [sys.executable, "-c", LOOK, module], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([INSTALLED, *sys.path])},
    )  # fmt: skip
    assert done.stdout == "[]\n", done.stderr
