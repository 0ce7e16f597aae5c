"""Scorers that are commands: real ones, whole and damaged."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
from sacrebleu import sentence_chrf

from kdray.config.scorers import CommandScorerConfig
from kdray.errors import ConfigError
from kdray.scoring.command import run_command
from kdray.scoring.scorer import ScorerFailed, Segment
from kdray.text.line_command import check_program as check_command

SEGMENTS = [
    Segment("ein Haus", "a house", "a home"),
    Segment("二つ\u2028の", "two “things”", "two things"),
    Segment("mit\tTab", "", "with tab"),
]
CHRF = """
import json, sys
from sacrebleu import sentence_chrf
for line in sys.stdin:
    segment = json.loads(line)
    print(sentence_chrf(segment["hyp"], [segment["ref"]]).score)
print("done", file=sys.stderr)
"""


def scorer(code, **changes):
    command = (sys.executable, "-c", code)
    return CommandScorerConfig(kind="command", command=command, signature="test", **changes)


@pytest.mark.slow
def test_a_copy_of_chrf_gives_what_sacrebleu_gives():
    expected = [sentence_chrf(each.hyp, [each.ref]).score for each in SEGMENTS]
    assert run_command(scorer(CHRF), SEGMENTS) == expected


def test_tabs_of_the_text_do_not_shift_columns():
    code = "import sys\nfor line in sys.stdin: print(line.count(chr(9)))"
    assert run_command(scorer(code, input="tsv"), SEGMENTS) == [2.0, 2.0, 2.0]


def test_a_line_of_json_is_a_segment():
    code = "import sys\nfor line in sys.stdin: print(1)\nsys.stderr.write(str(line))"
    assert run_command(scorer(code), SEGMENTS) == [1.0, 1.0, 1.0]


def test_it_has_variables_of_its_own_and_none_of_kdray_s_secrets(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    monkeypatch.setenv("KEPT", "3")
    code = (
        "import os\nprint(os.environ['KEPT'])\nprint(os.environ['OWN'])\n"
        "print(int('MLFLOW_TRACKING_PASSWORD' in os.environ))"
    )
    assert run_command(scorer(code, environment={"OWN": "4"}), SEGMENTS) == [3.0, 4.0, 0.0]


DAMAGED = {
    "import sys; print('CUDA', file=sys.stderr); sys.exit(3)": "exit code 3; .*ends with 'CUDA'",
    "import os; os.kill(os.getpid(), 11)": "killed by signal 11; its standard error is empty",
    "print(1); print(2)": "printed 2 lines for 3 segments",
    "print(1); print(2); print(3); print(4)": "printed 4 lines for 3 segments",
    "": "printed 0 lines for 3 segments",
    "print(1); print('two'); print(3)": "printed 'two' in line 2, which is no number",
    "print(1); print(2); print('nan')": "printed 'nan' in line 3, which is not finite",
    "print(1); print(); print(2)": "printed '' in line 2, which is no number",
}


@pytest.mark.parametrize(("code", "told"), DAMAGED.items(), ids=DAMAGED.values())
def test_what_is_wrong_with_a_scorer_is_told(code, told):
    with pytest.raises(ScorerFailed, match=told) as raised:
        run_command(scorer(code), SEGMENTS)
    assert not raised.value.hung


@pytest.mark.slow
def test_one_that_hangs_is_killed_with_its_children(tmp_path):
    beats = tmp_path / "beats"
    child = f"import time\nwhile True: open({str(beats)!r}, 'a').write('x'); time.sleep(0.02)"
    code = (
        f"import subprocess, sys\nprint('slow', file=sys.stderr, flush=True)\n"
        f"subprocess.run([sys.executable, '-c', {child!r}])"
    )
    with pytest.raises(ScorerFailed, match=r"not ended after 2 seconds.*'slow'") as raised:
        run_command(scorer(code, timeout_seconds=2), SEGMENTS)
    assert raised.value.hung
    time.sleep(0.1)
    size = beats.stat().st_size if beats.exists() else 0
    time.sleep(0.2)
    assert size == (beats.stat().st_size if beats.exists() else 0)


@pytest.mark.slow
def test_credentials_in_what_it_says_are_not_repeated():
    code = "import sys; sys.exit('no way to https:' + '//me:geheim' + '@host')"
    with pytest.raises(ScorerFailed) as raised:
        run_command(scorer(code), SEGMENTS)
    assert "geheim" not in f"{raised.value} {raised.value.stderr}"


def test_a_program_is_looked_for_before_it_is_run(tmp_path, monkeypatch):
    missing = CommandScorerConfig(kind="command", command=("no-such-scorer",), signature="x")
    with pytest.raises(ConfigError, match="'no-such-scorer': there is no such program"):
        check_command(missing)
    with pytest.raises(ScorerFailed, match="cannot be started: No such file"):
        run_command(missing, SEGMENTS)
    file = tmp_path / "mine"
    file.write_text("#!/bin/sh\nwhile read line; do echo 1; done\n")
    monkeypatch.chdir(tmp_path)
    for place in ("./mine", str(file)):
        config = CommandScorerConfig(kind="command", command=(place,), signature="x")
        file.chmod(0o644)
        with pytest.raises(ConfigError):
            check_command(config)
        file.chmod(0o755)
        check_command(config)
        assert run_command(config, SEGMENTS) == [1.0] * 3
    own = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    check_command(
        CommandScorerConfig(kind="command", command=("mine",), signature="x", environment=own)
    )


@pytest.mark.slow
def test_no_shell_reads_the_command(tmp_path):
    bait = tmp_path / "bait"
    code = "import json, sys\nfor line in sys.stdin: print(len(sys.argv[1]))"
    word = f"$(touch {bait}); `touch {bait}`"
    config = CommandScorerConfig(
        kind="command", command=(sys.executable, "-c", code, word), signature="x"
    )
    assert run_command(config, SEGMENTS) == [float(len(word))] * 3
    assert not Path(bait).exists()
    assert json.loads(config.model_dump_json())["command"][3] == word
