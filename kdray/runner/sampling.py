"""A small study of the same kind: a sample of the text, few updates, every method and signal once.

What it takes is measured by the means that a study has anyway: its records and its table of costs.
"""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from kdray.artifacts import Artifact, Key, read_json
from kdray.cell import TEACHER
from kdray.config.costs import CostTable
from kdray.config.experiment import Experiment
from kdray.config.grid import points_of
from kdray.config.methods.union import single_methods
from kdray.config.text import CorpusConfig, GeneratedCorpusConfig
from kdray.plan.step import SIGNALS, STUDENT, Step, up_to
from kdray.progress import Display
from kdray.runner.costs import costs_of
from kdray.runner.make import make_steps
from kdray.runner.study import Study, open_study
from kdray.schema import Column, Split
from kdray.storage.record import RECORD
from kdray.teacher.hypotheses import FILE
from kdray.teacher.translation import TranslationJob
from kdray.text.corpus import Corpus
from kdray.text.encoded import EncodedSplit
from kdray.text.sequences import write_table


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a sample study took.

    Attributes:
        pairs: training pairs of it.
        all_pairs: that the whole corpus would have, if as many are dropped.
        seconds: of each heading, from begin to end.
        costs: of updates, by method and size.
        teacher_update: seconds of one; None if the teacher is brought or there is none.
        signals: the record of each, by the name of its step.
        sizes: bytes of what was published, by stage, and of one student in the mean.
        models: how many were trained.
        lines: of dev and of all tests together.
        smaller: parameters of a student in the mean, as a share of the teacher's; 1 without one.
        tokens_of_reference: in the teacher's pieces, of a pair.
    """

    pairs: int
    all_pairs: int
    seconds: Mapping[str, float]
    costs: CostTable
    teacher_update: float | None
    signals: Mapping[str, Mapping[str, Any]]
    sizes: Mapping[str, int]
    models: int
    lines: int
    smaller: float
    tokens_of_reference: float


def sample_of(experiment: Experiment, folder: Path, *, pairs: int, updates: int) -> Experiment:
    """The sample study of an experiment, at the first point of its grid.

    Each single method of the recipe is one of it, and each size a student of one seed.
    """
    recipe = next(iter(points_of(experiment.recipe).values()))
    raw: dict[str, Any] = recipe.model_dump(mode="json", exclude={"axes", "grid"})
    corpus = raw["corpus"]
    name = "train_pairs" if isinstance(recipe.corpus, GeneratedCorpusConfig) else "max_train_pairs"
    corpus[name] = min(pairs, corpus.get(name) or pairs)
    teacher = raw.get("teacher") or {}
    for each in (teacher, *teacher.get("members", ())):
        if "training" in each:
            each["training"] = _short(each["training"], updates)
    students = raw["students"]
    students["seeds"] = list(recipe.students.seeds[:1])
    students["training"] = _short(students["training"], updates)
    singles = [one for method in recipe.methods.values() for one in single_methods(method)]
    methods = {repr(one): one.model_dump(mode="json") for one in singles}
    raw["methods"] = {f"m{n}": one for n, one in enumerate(methods.values())}
    raw["baseline"] = ""
    execution = experiment.execution.model_dump() | {
        "storage": str(folder), "tracking": {"enabled": False},
    }  # fmt: skip
    return Experiment.model_validate(
        {"name": experiment.name, "recipe": raw, "execution": execution}
    )


def _short(training: Mapping[str, Any], updates: int) -> dict[str, Any]:
    """The same updates, but few, with one checkpoint and one validation at the end."""
    kept = {"tokens_per_update", "clip_norm", "precision", "max_tokens"}
    return {
        **{name: value for name, value in training.items() if name in kept},
        "updates": updates, "schedule": {"kind": "cosine", "warmup": 1},
        "checkpoint_every": updates, "validate_every": updates,
    }  # fmt: skip


@contextmanager
def sampled(sample: Experiment, display: Display, *, whole: CorpusConfig) -> Iterator[Sampled]:
    """Make a sample study up to its students, and measure it; `whole` is the corpus it is of."""
    with open_study(sample, display) as study:
        study.start_ray()
        seconds: dict[str, float] = {}
        signals: dict[str, Mapping[str, Any]] = {}
        steps = up_to(study.plan.steps, STUDENT)
        for heading, group in groupby(steps, key=lambda step: step.heading):
            began, made = time.perf_counter(), list(group)
            make_steps(study, made)
            seconds[heading] = time.perf_counter() - began
            for step in (step for step in made if step.stage == SIGNALS):
                signals[step.name] = _record(study, step)
                if isinstance(step.job, TranslationJob) and study.plan.of(TEACHER):
                    _put_references(study, step.job)
        yield _measured(study, steps, seconds, signals, whole)


def _record(study: Study, step: Step) -> Mapping[str, Any]:
    """What a signal counted, and how large it is."""
    artifact = study.store.find(step.key)
    assert artifact is not None, "it was made"
    return {**artifact.counts, "bytes": _bytes(artifact)}


def _put_references(study: Study, job: TranslationJob) -> None:
    """Put references in the place of translations.

    A teacher of few updates ends none of its sentences, and students learn only those that end.
    References end, and are as long as those of a teacher that learned.
    """
    split = EncodedSplit.load(study.store.fetch(job.encoded), Split.TRAIN)
    rows, ranks = np.repeat(np.arange(len(split)), job.config.num_hyps), job.config.num_hyps
    refs = [split.ref[int(row)].tolist() for row in rows]
    texts = Corpus(study.store.fetch(job.corpus)).table(Split.TRAIN)[Column.REF]
    columns = {
        Column.PAIR_ID: pa.array(split.pair_ids[rows]),
        Column.SRC_HASH: pa.array(split.src_hashes[rows]),
        Column.HYP_RANK: pa.array(np.tile(np.arange(ranks), len(split)), pa.int32()),
        Column.HYP: texts.take(pa.array(rows)).cast(pa.large_string()),
        Column.HYP_IDS: pa.array(refs, pa.list_(pa.uint32())),
        Column.HYP_SCORE: pa.array(-np.ones(len(rows)), pa.float32()),
        Column.FINISHED: pa.array(np.ones(len(rows), dtype=bool)),
    }
    shutil.rmtree(study.store.path(job.key))

    def build(folder: Path) -> dict[str, int]:
        write_table(folder / FILE, pa.table(columns))
        return {"pairs": len(split), "quarantined": 0}

    study.store.publish(job.key, build)


def _measured(
    study: Study,
    steps: tuple[Step, ...],
    seconds: Mapping[str, float],
    signals: Mapping[str, Mapping[str, Any]],
    whole: CorpusConfig,
) -> Sampled:
    made = [(step, artifact) for step in steps if (artifact := study.store.find(step.key))]
    scenario = study.plan.only
    counts = _counts(study, scenario.text.clean.corpus)
    pairs, read = counts["pairs"]["train"], counts["train_read"]
    every = read + counts["train_unread"]
    if isinstance(whole, GeneratedCorpusConfig):
        every = whole.train_pairs
    most = getattr(whole, "max_train_pairs", None)
    all_pairs = min(round(pairs / read * every), most or every)
    encoded = _counts(study, scenario.text.learned.teacher_encoded)
    trainings = [a.counts for step, a in made if step.stage == TEACHER]
    sizes: dict[str, int] = {}
    for step, artifact in made:
        sizes[step.stage] = sizes.get(step.stage, 0) + _bytes(artifact)
    return Sampled(
        pairs=pairs,
        all_pairs=all_pairs,
        seconds=seconds,
        costs=costs_of(study),
        teacher_update=sum(c["train_seconds"] / c["updates"] for c in trainings) or None,
        signals=signals,
        sizes=sizes,
        models=sum(step.stage in (STUDENT, TEACHER) for step, _ in made),
        lines=sum(lines for split, lines in counts["pairs"].items() if split != "train"),
        smaller=_smaller(study, made),
        tokens_of_reference=encoded["train"]["ref_tokens"] / pairs,
    )


def _smaller(study: Study, made: Sequence[tuple[Step, Artifact]]) -> float:
    students = [a.counts["num_params"] for step, a in made if step.stage == STUDENT]
    teacher = study.plan.only.teacher
    own = None if teacher is None else teacher.num_params(study.store.fetch)
    return sum(students) / len(students) / own if own and students else 1.0


def _counts(study: Study, key: Key) -> Mapping[str, Any]:
    artifact = study.store.find(key)
    assert artifact is not None, "it was made"
    return artifact.counts


def _bytes(artifact: Artifact) -> int:
    """Size of what was published."""
    return sum(each["bytes"] for each in read_json(artifact.path / RECORD)["files"].values())
