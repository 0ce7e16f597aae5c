"""Nothing that a method computes with stays behind on the CPU: see `made_up_device.py`."""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).with_name("made_up_device.py")


@pytest.mark.long
@pytest.mark.slow
def test_nothing_stays_behind_on_the_cpu() -> None:
    line = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", str(TESTS)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout  # not without tests either
