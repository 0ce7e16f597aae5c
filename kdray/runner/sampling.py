"""A small study of the same kind: a sample of the text, few updates, every method and signal once.

What it takes is measured by the means that a study has anyway: its records and its table of costs.
"""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

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
from kdray.teacher.added import AddedJob
from kdray.teacher.hypotheses import FILE, read_translations
from kdray.teacher.translation import TranslationJob
from kdray.text.added import TEXTS
from kdray.text.corpus import Corpus
from kdray.text.encoded import EncodedSplit
from kdray.text.sentences import UNREAD
from kdray.text.sequences import write_table


@dataclass(frozen=True, slots=True)
class SampledText:
    """Text in one language that a sample study added to its pairs.

    Attributes:
        sentences: of it in the sample.
        all_sentences: that the whole text would give, if as many are dropped.
        translated_by: the heading under which they are translated back; without, they have no
            references.
        seconds: that translating them back took.
    """

    sentences: int
    all_sentences: int
    translated_by: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a sample study took.

    Attributes:
        pairs: clean training pairs of it.
        all_pairs: that the whole corpus would have, if as many are dropped.
        added: text in one language, by its name.
        seconds: of each heading, from begin to end.
        costs: of updates, by method and size.
        teacher_update: seconds of one; None if the teacher is brought or there is none.
        signals: the record of each, by the name of its step.
        sizes: bytes of what was published, by stage, and of one student in the mean.
        models: how many were trained.
        lines: of dev and of all tests together.
        smaller: parameters of a student in the mean, as a share of the teacher's; 1 without one.
        tokens_of_reference: in the teacher's pieces, of a pair that has one.
    """

    pairs: int
    all_pairs: int
    added: Mapping[str, SampledText]
    seconds: Mapping[str, float]
    costs: CostTable
    teacher_update: float | None
    signals: Mapping[str, Mapping[str, Any]]
    sizes: Mapping[str, int]
    models: int
    lines: int
    smaller: float
    tokens_of_reference: float

    def learned(self, *, with_reference: bool = False) -> int:
        """Training pairs of the sample with all text that is added, or those with a reference."""
        return self.pairs + sum(each.sentences for each in self._added(with_reference))

    def all_learned(self, *, with_reference: bool = False) -> int:
        """The same of the whole study."""
        return self.all_pairs + sum(each.all_sentences for each in self._added(with_reference))

    def _added(self, with_reference: bool) -> list[SampledText]:
        texts = self.added.values()
        return [each for each in texts if each.translated_by or not with_reference]


def sample_of(experiment: Experiment, folder: Path, *, pairs: int, updates: int) -> Experiment:
    """The sample study of an experiment, at the first point of its grid.

    Each single method of the recipe is one of it, and each size a student of one seed.
    """
    recipe = next(iter(points_of(experiment.recipe).values()))
    raw: dict[str, Any] = recipe.model_dump(mode="json", exclude={"axes", "grid"})
    corpus = raw["corpus"]
    name = "train_pairs" if isinstance(recipe.corpus, GeneratedCorpusConfig) else "max_train_pairs"
    corpus[name] = min(pairs, corpus.get(name) or pairs)
    for text in corpus.get("monolingual", {}).values():
        text["max_sentences"] = min(pairs, text["max_sentences"] or pairs)
        if text["similar_to"] is not None:
            text["similar_to"]["keep"] = min(pairs, text["similar_to"]["keep"])
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
            began = time.perf_counter()
            made = [replace(step, is_goal=True) for step in group]  # who needs them comes later
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
    """Put references in the place of translations, where there are some.

    A teacher of few updates ends none of its sentences, and students learn only those that end.
    References end, and are as long as those of a teacher that learned.
    """
    split = EncodedSplit.load(study.store.fetch(job.encoded), Split.TRAIN)
    has_reference, ranks = split.ref.lengths > 0, job.config.num_hyps
    rows = np.repeat(np.flatnonzero(has_reference), ranks)
    refs = [split.ref[int(row)].tolist() for row in rows]
    texts = Corpus(study.store.fetch(job.corpus)).table(Split.TRAIN)[Column.REF]
    columns = {
        Column.PAIR_ID: pa.array(split.pair_ids[rows]),
        Column.SRC_HASH: pa.array(split.src_hashes[rows]),
        Column.HYP_RANK: pa.array(np.tile(np.arange(ranks), has_reference.sum()), pa.int32()),
        Column.HYP: texts.take(pa.array(rows)).cast(pa.large_string()),
        Column.HYP_IDS: pa.array(refs, pa.list_(pa.uint32())),
        Column.HYP_SCORE: pa.array(-np.ones(len(rows)), pa.float32()),
        Column.FINISHED: pa.array(np.ones(len(rows), dtype=bool)),
    }
    put = pa.table(columns)
    if not has_reference.all():
        put = _beside(put, read_translations(study.store.fetch(job.key)), split, ~has_reference)
    shutil.rmtree(study.store.path(job.key))

    def build(folder: Path) -> dict[str, int]:
        write_table(folder / FILE, put)
        return {"pairs": len(np.unique(put[Column.PAIR_ID].to_numpy())), "quarantined": 0}

    study.store.publish(job.key, build)


def _beside(
    put: pa.Table, made: pa.Table, split: EncodedSplit, kept: NDArray[np.bool_]
) -> pa.Table:
    """Rows that were put, and of those that were made the ones to keep, in the corpus's order."""
    names = [name for name in put.column_names if name in made.column_names]
    rows = pa.array(np.isin(made[Column.PAIR_ID].to_numpy(), split.pair_ids[kept]))
    put = put.select(names)
    both = pa.concat_tables([put, made.filter(rows).select(names).cast(put.schema)])
    order = np.argsort(split.pair_ids)
    ids, ranks = both[Column.PAIR_ID].to_numpy(), both[Column.HYP_RANK].to_numpy()
    places = order[np.searchsorted(split.pair_ids[order], ids)]
    return both.take(pa.array(np.lexsort((ranks, places))))


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
    added = dict(_added(study, whole))
    references = sum(each.sentences for each in added.values() if each.translated_by)
    encoded = _counts(study, scenario.text.learned.teacher_encoded)
    trainings = [a.counts for step, a in made if step.stage == TEACHER]
    sizes: dict[str, int] = {}
    for step, artifact in made:
        sizes[step.stage] = sizes.get(step.stage, 0) + _bytes(artifact)
    return Sampled(
        pairs=pairs,
        all_pairs=all_pairs,
        added=added,
        seconds=seconds,
        costs=costs_of(study),
        teacher_update=sum(c["train_seconds"] / c["updates"] for c in trainings) or None,
        signals=signals,
        sizes=sizes,
        models=sum(step.stage in (STUDENT, TEACHER) for step, _ in made),
        lines=sum(lines for split, lines in counts["pairs"].items() if split != "train"),
        smaller=_smaller(study, made),
        tokens_of_reference=encoded["train"]["ref_tokens"] / (pairs + references),
    )


def _added(study: Study, whole: CorpusConfig) -> Iterator[tuple[str, SampledText]]:
    """What text in one language gives, by its name."""
    steps = study.plan.steps
    headings = {step.key.fingerprint: step.heading for step in steps}
    for job in (step.job for step in steps if isinstance(step.job, AddedJob)):
        counts = _counts(study, job.key)
        for name, text in whole.monolingual.items():
            back = job.translations.get(name)
            lines = (_counts(study, back[0]) if back else counts)[TEXTS][name]
            there = sum(lines.values())
            wanted = min(there, text.max_sentences or there)
            kept = counts["sources"][name]
            every = round(kept / (there - lines[UNREAD]) * wanted)
            if text.similar_to is not None:
                every = min(every, text.similar_to.keep)
            sampled_text = SampledText(kept, every)
            if back is not None:
                seconds = _counts(study, back[1])["seconds"]
                sampled_text = SampledText(kept, every, headings[back[1].fingerprint], seconds)
            yield name, sampled_text


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
