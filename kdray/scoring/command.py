"""The scorer that runs a command: a segment a line to its standard input, a number a line back."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from kdray.config.scorers import CommandScorerConfig
from kdray.scoring.scorer import Scorer, ScorerFailed, Segment
from kdray.text.line_command import CommandBroken, check_program, run_lines


def run_command(config: CommandScorerConfig, segments: Sequence[Segment]) -> list[float]:
    """Run the command once for all segments. It and its children do not outlive the call.

    Raises:
        ScorerFailed: it cannot be started, fails, takes too long, or does not print one finite
            number for each segment.
    """
    lines = [_line(each, config) for each in segments]
    try:
        return run_lines(config, lines, what="segments", read=_numbers)
    except CommandBroken as error:
        raise ScorerFailed(str(error), error.stderr, hung=error.hung) from None


COMMAND = Scorer(run_command, check_program)


def _line(segment: Segment, config: CommandScorerConfig) -> str:
    parts: Mapping[str, str] = asdict(segment)
    if config.input == "json":
        return json.dumps(parts)
    return "\t".join(" ".join(text.splitlines()).replace("\t", " ") for text in parts.values())


def _numbers(lines: Sequence[str]) -> list[float]:
    numbers = []
    for place, line in enumerate(lines, start=1):
        try:
            numbers.append(float(line))
        except ValueError:
            raise CommandBroken(
                f"it printed {line[:100]!r} in line {place}, which is no number"
            ) from None
        if not math.isfinite(numbers[-1]):
            raise CommandBroken(f"it printed {line!r} in line {place}, which is not finite")
    return numbers
