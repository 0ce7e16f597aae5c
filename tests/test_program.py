"""A command as a process of its own, which may end while threads are still at work."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import atexit, threading
from kdray.command import program
from kdray.errors import InputError, StageFailed
atexit.register(print, "what was registered for the end")
with program():
    threading.Thread(target=threading.Event().wait).start()  # never ends, as in Ray's C++ part
    raise {error}("what, where, found, repair")
"""


@pytest.mark.parametrize(
    ("error", "code"), [("InputError", 2), ("StageFailed", 1), ("RuntimeError", 1)]
)
def test_a_command_that_fails_does_not_wait_for_its_threads(error, code):
    line = [sys.executable, "-c", PROGRAM.format(error=error)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code
    assert done.stdout.splitlines() == ["what was registered for the end"]
    assert "what, where, found, repair" in done.stderr
    assert ("Traceback" in done.stderr) == (error == "RuntimeError"), "a fault of our own"


def test_a_command_whose_output_nobody_reads_has_its_exit_code():
    line = [sys.executable, "-c", PROGRAM.format(error="InputError")]
    done = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    done.stdout.close()
    assert done.wait(timeout=60) == 2
