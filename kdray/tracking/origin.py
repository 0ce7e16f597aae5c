"""Where does a run come from? The user, the command and the code, as the tags that MLflow shows."""

import getpass
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import kdray
from kdray.errors import redact


def origin() -> Mapping[str, str]:
    """The tags of whoever calls this, in the process of the command. Credentials are left out.

    The commit is told only where kdray's own files are under version control.
    """
    command = _command()
    words = [Path(word).name if Path(word).exists() else word for word in command[:4]]
    tags = {
        "kdray.command": redact(shlex.join(command)),
        # MLflow shows what stands after the last slash.
        "mlflow.source.name": redact(" ".join(words)),
        "mlflow.source.type": "LOCAL",
        "kdray.version": kdray.__version__,
    }
    if user := _user():
        tags["mlflow.user"] = user
    if commit := _commit(Path(kdray.__file__).parent):
        tags["mlflow.source.git.commit"] = commit
    return tags


def _command() -> list[str]:
    """The command line, with `python` for the path of an interpreter."""
    interpreter, *arguments = sys.orig_argv or sys.argv
    return [Path(interpreter).name, *arguments]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return ""


def _commit(folder: Path) -> str:
    """The commit that is checked out where the package is; empty if none is."""

    def git(*arguments: str) -> str:
        line = ["git", "-C", str(folder), *arguments]
        return subprocess.run(
            line, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # not merely inside of a repository
        return git("rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return ""
