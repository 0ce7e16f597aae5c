"""A command that is given lines on its standard input, and prints a line for each of them."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from kdray.config.line_command import LineCommandConfig
from kdray.errors import ConfigError, redact

T = TypeVar("T")
_OF_KDRAY = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
"""Environment variables in which kdray itself keeps credentials."""


class CommandBroken(Exception):
    """A command did not do what it is for.

    stderr: what it said meanwhile. hung: whether it was killed at its time limit. exited: whether
        it ended with an exit code, or by a signal, that says so; the reason may be one line of all.
    """

    def __init__(
        self, reason: str, stderr: str = "", *, hung: bool = False, exited: bool = False
    ) -> None:
        super().__init__(reason)
        self.stderr, self.hung, self.exited = stderr, hung, exited

    def said(self, stderr: str) -> "CommandBroken":
        """The same, with what it wrote to its standard error."""
        stderr = redact(stderr)
        last = next((line for line in reversed(stderr.splitlines()) if line.strip()), "")
        shown = f"ends with {last.strip()[:300]!r}" if last else "is empty"
        reason = f"{self}; its standard error {shown}"
        return CommandBroken(reason, stderr, hung=self.hung, exited=self.exited)


def check_program(config: LineCommandConfig, folder: Path | None = None) -> None:
    """Look for the program, from a folder or from the current one.

    Raises:
        ConfigError: it is not there, or it cannot be executed.
    """
    program, path = config.command[0], environment(config).get("PATH")
    place = Path.cwd() if folder is None else folder
    if shutil.which(_placed(program, place), path=path) is None:
        raise ConfigError(
            f"command {program!r}: there is no such program that can be executed, in {place} "
            f"or on the PATH {path}; install it, or give its whole path"
        )


def run_lines(
    config: LineCommandConfig,
    lines: Sequence[str],
    *,
    what: str,
    read: Callable[[list[str]], list[T]],
    folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> list[T]:
    """Run a command once for all lines. It and its children do not outlive the call.

    Args:
        config: the command.
        lines: what it reads.
        what: names the lines in messages, such as `segments`.
        read: makes of the printed lines what they mean, or raises CommandBroken.
        folder: where it runs; the current folder if there is none.
        variables: more of its environment.

    Raises:
        CommandBroken: it cannot be started, fails, takes too long, or does not print as many lines
            that mean something.
    """
    with tempfile.TemporaryDirectory() as work:
        given, printed, said = (Path(work) / name for name in ("stdin", "stdout", "stderr"))
        given.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        try:
            _run(config, (given, printed, said), folder, environment(config, variables))
            text = printed.read_text("utf-8", errors="replace")
            return read(_lines(text, len(lines), what=what))
        except CommandBroken as error:
            stderr = said.read_text("utf-8", errors="replace") if said.exists() else ""
            raise error.said(stderr) from None


def environment(
    config: LineCommandConfig, variables: Mapping[str, str] | None = None
) -> dict[str, str]:
    """That of kdray without its credentials, and what is added."""
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_KDRAY}
    return inherited | dict(variables or {}) | config.environment


def _placed(program: str, folder: Path) -> str:
    """A program that is named by a relative path, as one of a folder."""
    return str(folder / program) if os.sep in program else program


def _run(
    config: LineCommandConfig,
    files: tuple[Path, Path, Path],
    folder: Path | None,
    variables: Mapping[str, str],
) -> None:
    """Run it to its end, or to its time limit, with files for its three streams."""
    given, printed, said = files
    program, *arguments = config.command
    with given.open("rb") as stdin, printed.open("wb") as stdout, said.open("wb") as stderr:
        try:
            process = subprocess.Popen(
                [program if folder is None else _placed(program, folder), *arguments],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=variables,
                cwd=folder,
                start_new_session=True,  # so that its children end with it
            )
        except OSError as error:
            raise CommandBroken(f"{program} cannot be started: {error.strerror}") from None
        try:
            code = process.wait(config.timeout_seconds)
        except subprocess.TimeoutExpired:
            raise CommandBroken(
                f"it had not ended after {config.timeout_seconds:g} seconds, and was killed; "
                "raise timeout_seconds if it needs longer",
                hung=True,
            ) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code != 0:
        how = f"ended with exit code {code}" if code > 0 else f"was killed by signal {-code}"
        raise CommandBroken(f"it {how}", exited=True)


def _lines(printed: str, wanted: int, *, what: str) -> list[str]:
    lines = printed.removesuffix("\n").split("\n") if printed else []
    if len(lines) != wanted:
        raise CommandBroken(f"it printed {len(lines)} lines for {wanted} {what}")
    return lines
