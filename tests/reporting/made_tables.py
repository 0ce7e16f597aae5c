"""Tables with differences that no model made, and scores whose truth is known."""

import itertools
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from kdray.cell import Cell
from kdray.condition import Condition
from kdray.reporting.difference import Difference
from kdray.reporting.facts import ScenarioFacts, SplitText, StudyFacts
from kdray.reporting.samples import Samples
from kdray.reporting.table import Row, Spread, Table
from kdray.scoring.counts import mean_of_segments
from kdray.statistics.resampling import Resamples

ONE_SEED = {"sd": None, "seeds": (1,)}


WORDS = ["ban", "dor", "fil", "gum", "hat", "jok", "lem", "nip", "rus", "tav", "wex", "yol"]


def sentences(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(6, 14))) for _ in range(count)]


def row(
    method, bleu, *, sd=0.1, seeds=(1, 2, 3), size="tiny", length=None, role="student", **other
):
    """A row with a BLEU, and a chrF that is 20 points above it."""
    made = Row(
        cell=Cell(method, size, seeds[0], length, role),
        kind=method,
        seeds=seeds,
        is_baseline=method == "ce",
        scores={"bleu": Spread(bleu, sd), "chrf": Spread(bleu + 20, sd)},
        num_params=1_000_000,
        updates=1000.0,
        target_tokens=1e6,
        train_seconds=10.0,
        tokens_per_second=5000.0,
        sentences_per_second=200.0,
    )
    return replace(made, **other)


def difference(method, other, value, *, p=0.01, p_of_models=None, metric="bleu", **changes):
    """A method minus another, tested unless p is None."""
    reason = "with one seed its seed noise is unknown" if p is None else ""
    made = Difference(
        group="tiny",
        method=method,
        other=other,
        metric=metric,
        value=value,
        low=None if p is None else value - 1,
        high=None if p is None else value + 1,
        p_uncorrected=p,
        p=p,
        p_of_models=p_of_models,
        reason=reason,
    )
    return replace(made, **changes)


def table(split, rows, differences=(), *, beam=5, point=(), condition=None, **changes):
    """A table of a split; on dev differences are not tested."""
    told = tuple(differences)
    if split == "dev":
        told = tuple(replace(d, p=None, p_uncorrected=None, p_of_models=None) for d in told)
    made = Table(
        point=point,
        split=split,
        condition=condition or Condition.of_beam(beam),
        signatures={"bleu": "tok:13a", "chrf": "nc:6"},
        lower_is_better=frozenset(),
        baseline="ce",
        bootstrap_samples=1000,
        num_segments=100,
        rows=tuple(rows),
        differences=told,
    )
    return replace(made, **changes)


def facts(**changes):
    fields = {
        "name": "made",
        "recipe": {},
        "corpus": {},
        "fingerprints": {},
        "versions": {},
        "baseline": "ce",
        "main_beam": 5,
        "budget": "at equal numbers of updates",
        "bootstrap_samples": 200,
        "scenarios": {(): ScenarioFacts({"dev": SplitText(["a"], ["b"])}, "13a")},
    }
    return StudyFacts(**{**fields, **changes})


class Worlds:
    """Draws scores of models whose worth is known: means over segments."""

    def __init__(self, seed=0, *, num_segments=60, samples=200, sd=1.0):
        self.rng = np.random.default_rng(seed)
        self.num_segments, self.sd = num_segments, sd
        self.draws = Resamples.draw(num_segments, samples)
        self.models = itertools.count()  # none is tested twice

    def score(self, worth):
        values = self.rng.normal(worth, self.sd, self.num_segments)
        return self.draws.score(mean_of_segments(values))

    def samples(
        self,
        worths: Mapping[str, float],
        *,
        split: str = "test-x",
        seeds: Sequence[int] = (1, 2, 3),
        sizes: Mapping[str, int] | Iterable[tuple[str, int]] = (("tiny", 1_000_000),),
        length=None,
        teacher=40.0,
        metric="bleu",
        **of_table,
    ) -> Samples:
        """The students of a table, by method and true worth; `sizes` are in parameters."""
        rows, cells = [], {}
        for size, num_params in dict(sizes).items():
            for method, worth in worths.items():
                made = row(method, worth, seeds=tuple(seeds), size=size, length=length)
                rows.append(replace(made, num_params=num_params))
                own = {seed: self.score(worth + self.rng.normal(0, 0.05)) for seed in seeds}
                cells[made.group, method] = own
        return Samples(
            table=table(split, rows, num_segments=self.num_segments, **of_table),
            metric=metric,
            cells=cells,
            models={
                each: {seed: f"model {next(self.models)}" for seed in runs}
                for each, runs in cells.items()
            },
            teacher=None if teacher is None else self.score(teacher),
        )
