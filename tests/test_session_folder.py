"""What a session of Ray leaves in the temporary folder goes with it, and nothing else does."""

import os
import signal
from pathlib import Path

import pytest
from storage_laws import forked, until, wait

from kdray.cluster.ray_internals import session_folder
from kdray.cluster.session import session
from kdray.cluster.session_folder import LEASE, removed_at_the_end
from kdray.config.execution import Execution


def new_session(parent: Path, name: str) -> Path:
    folder = parent / f"session_{name}"
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "raylet.out").write_text("said")
    return folder


def test_it_goes_with_the_session_and_those_of_others_stay(tmp_path: Path) -> None:
    ours, others = new_session(tmp_path, "1"), new_session(tmp_path, "2")
    (tmp_path / "session_latest").symlink_to(ours)
    with removed_at_the_end(ours):
        assert (ours / LEASE).exists()
    assert list(tmp_path.iterdir()) == [others]


def test_the_logs_of_one_that_failed_stay_until_the_next(tmp_path: Path) -> None:
    failed = new_session(tmp_path, "1")
    with pytest.raises(ValueError), removed_at_the_end(failed):
        raise ValueError
    assert (failed / "logs" / "raylet.out").exists()
    with removed_at_the_end(new_session(tmp_path, "2")):
        assert not failed.exists()
    assert list(tmp_path.iterdir()) == []


def test_that_of_a_command_that_goes_on_is_left_alone_until_it_is_killed(tmp_path: Path) -> None:
    goes_on = new_session(tmp_path, "1")

    def command() -> None:
        with removed_at_the_end(goes_on):
            signal.pause()

    child = forked(command)
    until(lambda: (goes_on / LEASE).exists() and (goes_on / LEASE).stat().st_size)
    with removed_at_the_end(new_session(tmp_path, "2")):
        assert goes_on.exists()
    os.kill(child, signal.SIGKILL)
    wait(child)
    with removed_at_the_end(new_session(tmp_path, "3")):
        assert not goes_on.exists()


def test_without_a_folder_nothing_is_removed(tmp_path: Path) -> None:
    stays = new_session(tmp_path, "1")
    with removed_at_the_end(None):
        assert stays.exists()
    assert stays.exists()


@pytest.mark.ray
def test_a_real_session_leaves_no_folder() -> None:
    with session(Execution(cpus=1)):
        folder = session_folder()
        assert folder is not None
        assert (folder / LEASE).exists()
    assert not (folder / "logs").exists()
