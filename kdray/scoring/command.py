"""The scorer that runs a command: a segment a line to its standard input, a number a line back."""

import json
import math
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from kdray.config.scorers import CommandScorerConfig
from kdray.errors import ConfigError, redact
from kdray.scoring.scorer import Scorer, ScorerFailed, Segment

_OF_KDRAY = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
"""Environment variables in which kdray itself keeps credentials."""


def check_command(config: CommandScorerConfig) -> None:
    """Look for the program.

    Raises:
        ConfigError: it is not there, or it cannot be executed.
    """
    program, path = config.command[0], environment(config).get("PATH")
    if shutil.which(program, path=path) is None:
        raise ConfigError(
            f"command {program!r}: there is no such program that can be executed, in {Path.cwd()} "
            f"or on the PATH {path}; install it, or give its whole path"
        )


def run_command(config: CommandScorerConfig, segments: Sequence[Segment]) -> list[float]:
    """Run the command once for all segments. It and its children do not outlive the call.

    Raises:
        ScorerFailed: it cannot be started, fails, takes too long, or does not print one finite
            number for each segment.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, printed, said = (Path(folder) / name for name in ("stdin", "stdout", "stderr"))
        given.write_text("".join(f"{_line(each, config)}\n" for each in segments), encoding="utf-8")
        try:
            _run(config, given, printed, said)
            return _numbers(printed.read_text("utf-8", errors="replace"), wanted=len(segments))
        except _BrokenError as error:
            stderr = redact(said.read_text("utf-8", errors="replace"))
            last = next((line for line in reversed(stderr.splitlines()) if line.strip()), "")
            shown = f"ends with {last.strip()[:300]!r}" if last else "is empty"
            hung = isinstance(error, _HungError)
            raise ScorerFailed(f"{error}; its standard error {shown}", stderr, hung=hung) from None


COMMAND = Scorer(run_command, check_command)


class _BrokenError(ValueError):
    """What a command did is not what a scorer does."""


class _HungError(_BrokenError):
    """It did not end."""


def environment(config: CommandScorerConfig) -> dict[str, str]:
    """That of kdray without its credentials, and what the configuration adds."""
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_KDRAY}
    return inherited | config.environment


def _run(config: CommandScorerConfig, given: Path, printed: Path, said: Path) -> None:
    """Run it to its end, or to its time limit."""
    with given.open("rb") as stdin, printed.open("wb") as stdout, said.open("wb") as stderr:
        try:
            process = subprocess.Popen(
                config.command,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=environment(config),
                start_new_session=True,  # so that its children end with it
            )
        except OSError as error:
            raise _BrokenError(f"{config.command[0]} cannot be started: {error.strerror}") from None
        try:
            code = process.wait(config.timeout_seconds)
        except subprocess.TimeoutExpired:
            raise _HungError(
                f"it had not ended after {config.timeout_seconds:g} seconds, and was killed; "
                "raise timeout_seconds if it needs longer"
            ) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code != 0:
        how = f"ended with exit code {code}" if code > 0 else f"was killed by signal {-code}"
        raise _BrokenError(f"it {how}")


def _line(segment: Segment, config: CommandScorerConfig) -> str:
    parts: Mapping[str, str] = asdict(segment)
    if config.input == "json":
        return json.dumps(parts)
    return "\t".join(" ".join(text.splitlines()).replace("\t", " ") for text in parts.values())


def _numbers(printed: str, *, wanted: int) -> list[float]:
    lines = printed.removesuffix("\n").split("\n") if printed else []
    if len(lines) != wanted:
        raise _BrokenError(f"it printed {len(lines)} lines for {wanted} segments")
    numbers = []
    for place, line in enumerate(lines, start=1):
        try:
            numbers.append(float(line))
        except ValueError:
            raise _BrokenError(
                f"it printed {line[:100]!r} in line {place}, which is no number"
            ) from None
        if not math.isfinite(numbers[-1]):
            raise _BrokenError(f"it printed {line!r} in line {place}, which is not finite")
    return numbers
