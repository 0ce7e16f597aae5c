"""Small and read-only disks in a mount namespace of their own, where a user may have one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = 'mount -t tmpfs -o size="$SIZE" tmpfs "$FOLDER" && exec "$@"'
READ_ONLY = 'mount --bind "$FOLDER" "$FOLDER" && mount -o remount,bind,ro "$FOLDER" && exec "$@"'


def run_mounted(
    mount: str, folder: Path, *arguments: object, size: str = "1m"
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments while a disk of that kind is at the folder."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    places = {"FOLDER": str(folder), "SIZE": size}
    if subprocess.run([*unshare, mount, "sh", "true"], env=places, check=False).returncode:
        pytest.skip("this user may not mount")
    line = [*unshare, mount, "sh", sys.executable, *map(str, arguments)]
    return subprocess.run(
        line, env={**os.environ, **places}, capture_output=True, text=True, timeout=200, check=False
    )
