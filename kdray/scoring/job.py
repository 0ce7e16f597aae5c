"""The step that lets a scorer from outside score the translations of a model."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from kdray.artifacts import Fetch, Key, read_json, write_json
from kdray.config.scorers import CommandScorerConfig, ScorerConfig
from kdray.errors import ConfigError, KdrayError
from kdray.jobs import Counts
from kdray.schema import Column
from kdray.scoring.command import COMMAND
from kdray.scoring.evaluation import SCORES, condition_of
from kdray.scoring.result import read_hyps
from kdray.scoring.scorer import Scorer, ScorerFailed, Segment, outside_scorer
from kdray.scoring.segments import write_numbers
from kdray.text.corpus import Corpus
from kdray.text.prefix import split_references

VERSION = 1


def scorer_of(config: ScorerConfig) -> Scorer:
    """What scores as a configuration says.

    Raises:
        ConfigError: nobody has a scorer of this kind.
    """
    is_command = isinstance(config, CommandScorerConfig)
    return COMMAND if is_command else outside_scorer(config.kind)


def numbers_of(config: ScorerConfig, segments: Sequence[Segment]) -> list[float]:
    """The number that a scorer gives each segment.

    Raises:
        ScorerFailed: it did not give each segment a finite number.
    """
    if not segments:
        return []
    try:
        numbers = [float(each) for each in scorer_of(config).score(config, segments)]
    except ScorerFailed:
        raise
    except (Exception, SystemExit) as error:  # of another package, it may be anything
        raise ScorerFailed(f"{type(error).__name__}: {error}") from error
    if len(numbers) != len(segments):
        raise ScorerFailed(f"it gave {len(numbers)} scores for {len(segments)} segments")
    if wrong := [line for line, each in enumerate(numbers, 1) if not math.isfinite(each)]:
        value = numbers[wrong[0] - 1]
        raise ScorerFailed(f"it gave segment {wrong[0]} the score {value}, which is not finite")
    return numbers


@dataclass(frozen=True, slots=True)
class ScorerJob:
    """Score what is translated already. Whole; see `kdray.jobs`.

    It runs in the driver, with the environment and the devices of the command that was called.
    """

    name: str
    config: ScorerConfig
    scores: Key
    corpus: Key
    is_light: ClassVar[bool] = True

    @property
    def scorer(self) -> Scorer:
        """What scores.

        Raises:
            ConfigError: nobody has a scorer of this kind.
        """
        return scorer_of(self.config)

    @property
    def key(self) -> Key:
        """Of the translations and the scorer; not of its name, nor of how long a command may take.

        Raises:
            ConfigError: nobody has a scorer of this kind, or its configuration has a field of a
                name that is kdray's own.
        """
        is_command = isinstance(self.config, CommandScorerConfig)
        reading = {"higher_is_better"} | ({"timeout_seconds"} if is_command else set())
        config = self.config.model_dump(mode="json", exclude=reading)
        if "version" in config:
            raise ConfigError(
                f"recipe.evaluation.scorers.{self.name}: {type(self.config).__name__} has a field "
                "`version`, which is a name of kdray's own: the version of the scorer itself; "
                "rename the field"
            )
        recipe = {**config, "version": self.scorer.version}
        return Key("scorer", VERSION, recipe, {"scores": self.scores.fingerprint})

    @property
    def reads(self) -> tuple[Key, ...]:
        """The translations and the corpus."""
        return self.scores, self.corpus

    def check(self) -> None:
        """See whether what the scorer needs is there.

        Raises:
            ConfigError: it is not, or the scorer cannot say.
        """
        try:
            self.scorer.check(self.config)
        except (Exception, SystemExit) as error:  # of another package, it may be anything
            kind = "" if isinstance(error, KdrayError) else f"{type(error).__name__}: "
            message = f"recipe.evaluation.scorers.{self.name}: {kind}{error}"
            raise ConfigError(message) from error

    def make(self, folder: Path, fetch: Fetch, *, threads: int) -> Counts:
        """Write `scores.json`, and a number for each line of each file of translations. -> counts.

        Raises:
            ScorerFailed: the scorer did not give each segment a finite number.
        """
        translations, corpus = fetch(self.scores), Corpus(fetch(self.corpus))
        rows = [row for row in read_json(translations / SCORES) if "file" in row]
        segments = [list(_segments(row, translations, corpus)) for row in rows]
        numbers = iter(numbers_of(self.config, [each for part in segments for each in part]))
        scored = []
        for row, part in zip(rows, segments, strict=True):
            of_part = [next(numbers) for _ in part]
            write_numbers(folder / row["file"], of_part)
            place = {"split": row["split"], "condition": condition_of(row).name}
            scored.append({**place, "file": row["file"], "value": fmean(of_part)})
        write_json(folder / SCORES, scored)
        return {"segments": sum(map(len, segments))}


def _segments(row: Mapping[str, Any], translations: Path, corpus: Corpus) -> Iterator[Segment]:
    """What a file of translations was scored with."""
    table = corpus.table(row["split"])
    src, refs = (table[name].to_pylist() for name in (Column.SRC, Column.REF))
    hyps = read_hyps(translations / row["file"])
    for part, hyp in zip(split_references(refs, condition_of(row).share), hyps, strict=True):
        yield Segment(src[part.row], hyp, part.continuation)
