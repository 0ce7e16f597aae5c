"""A command that has used what it may ends in order, says so, and goes on later."""

import os
import time

import pytest
from micro_study import CONFIG

from kdray.command import exit_codes, limits_of, studied
from kdray.errors import InputError
from kdray.limits import Limits, limited, size_of, used_bytes


@pytest.mark.parametrize(
    ("text", "size"), [("12", 12), ("1k", 1e3), ("500M", 5e8), ("1.5 GB", 1.5e9), ("2T", 2e12)]
)
def test_sizes_are_in_powers_of_a_thousand(text, size):
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "G", "1X", "-1", "1e9"])
def test_what_is_no_size_is_one_message(text):
    with pytest.raises(InputError, match=f"--max-bytes '{text}' is no size; write a number"):
        limits_of(None, text)


@pytest.mark.parametrize("hours", [float("nan"), float("inf")])
def test_hours_without_an_end_are_one_message(hours):
    with pytest.raises(InputError, match=r"--max-hours (nan|inf): write a number of hours"):
        limits_of(hours, None)


def test_a_file_with_two_names_is_counted_once(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 1000)
    (tmp_path / "inner").mkdir()
    os.link(tmp_path / "a", tmp_path / "inner" / "b")
    (tmp_path / "c").write_bytes(b"x" * 10)
    assert used_bytes(tmp_path) == 1010


def test_a_bucket_whose_bytes_are_limited_is_refused_before_it_is_asked(tmp_path):
    (tmp_path / "a.yaml").write_text(CONFIG)
    for uri in ("s3://lab/x", "gs://key:hunter2@lab"):
        sets = [f"execution.storage={uri}"]
        with (
            pytest.raises(InputError, match="is no folder, and how much it holds") as refused,
            studied(tmp_path / "a.yaml", sets, "study", dry_run=False, limits=Limits(size=1e9)),
        ):
            pass
        assert "hunter2" not in str(refused.value)


def wait():
    time.sleep(120)


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (Limits(hours=0), "--max-hours 0 are over"),
        (Limits(size=1000), "--max-bytes 1000 are reached: holds 2000 bytes"),
    ],
)
def test_a_command_ends_at_its_limit_with_an_exit_code_of_its_own(tmp_path, capsys, limits, told):
    (tmp_path / "file").write_bytes(b"x" * 2000)
    with pytest.raises(SystemExit) as ended, exit_codes(), limited(limits, tmp_path):
        wait()
    assert ended.value.code == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "goes on from here" in said
    assert told.split(":")[0] in said


def test_below_its_limits_a_command_is_left_alone(tmp_path):
    with limited(Limits(hours=1, size=1e12), tmp_path):
        pass
    with pytest.raises(KeyboardInterrupt), limited(Limits(hours=1), tmp_path):
        raise KeyboardInterrupt
