"""Giving a student away: forms of it in folders of a user's, each of which is whole or absent."""

import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kdray.artifacts import RECORD, Key
from kdray.config.evaluation import EvaluationConfig
from kdray.config.export import ExportConfig
from kdray.errors import ArtifactDamaged, InputError
from kdray.export.about import About, about_student, corpora_of
from kdray.export.card import CARD
from kdray.export.job import ExportJob
from kdray.export.measure import MEASURED
from kdray.progress import Display
from kdray.runner.asked_forms import Languages
from kdray.runner.named_model import NamedModel
from kdray.runner.study import Study
from kdray.storage.disk import disk_errors
from kdray.storage.lease import Lease, hold
from kdray.storage.whole import leftovers, whole
from kdray.teacher.own import OwnModels

_IN_STORAGE = re.compile(r"(.*)/model/([0-9a-f]{16})")


def in_its_storage(name: str, storage: str) -> tuple[str, str]:
    """Name and storage of what was named by its folder in a storage: more is known of it there."""
    found = _IN_STORAGE.fullmatch(str(Path(name).absolute())) if Path(name).is_dir() else None
    if found is None or not (Path(name) / RECORD).is_file():
        return name, storage
    return found[2], found[1]


@dataclass(frozen=True)
class Student:
    """A student that is to be given away, and what is known of it."""

    named: NamedModel
    study: Study | None = None
    languages: Languages | None = None  # what a user calls them

    def job(self, config: ExportConfig) -> ExportJob:
        """What writes it in a form.

        Raises:
            InputError: what was named is no single model of kdray's.
        """
        job = self._job(config)
        if self.languages is None:
            return job
        src, tgt = self.languages
        return replace(job, about=replace(job.about, src_lang=src, tgt_lang=tgt))

    def _job(self, config: ExportConfig) -> ExportJob:
        named = self.named
        if not isinstance(named.teacher, OwnModels) or len(named.teacher.members) != 1:
            raise InputError(
                "it is no single model of kdray's own, and only such ones are exported; name a "
                "student"
            )
        (source,) = named.teacher.members
        if self.study is not None and named.step is not None:
            job = self.study.plan.scenario(named.step).exports.job(config, named.step)
            return self._as_far_as_made(job)
        if not isinstance(source, Key):
            return ExportJob(config, source, About(name=source.path.name))
        about = about_student(source, named.lookup)
        return replace(self._scored(config, source), about=about)

    def _as_far_as_made(self, job: ExportJob) -> ExportJob:
        """The same without scores that nobody has made."""
        assert self.study is not None, "the caller has looked"
        made = {key.place: self.study.is_made(key) for key in job.reads}
        scores = job.scores if job.scores is not None and made[job.scores.place] else None
        corpus = job.corpus if job.corpus is not None and made[job.corpus.place] else None
        return replace(job, scores=scores, corpus=corpus)

    def _scored(self, config: ExportConfig, student: Key) -> ExportJob:
        """With the newest scores of the storage, and else with the text that it learned."""
        store, lookup = self.named.store, self.named.lookup
        assert store is not None, "it was found there"
        job = ExportJob(config, student, About(name=student.fingerprint))
        of_student = [
            record
            for record in store.records("scores")
            if record["inputs"].get("model") == student.fingerprint
        ]
        corpora = list(corpora_of(student, lookup))
        if of_student:
            record = max(of_student, key=lambda each: str(each["created"]))
            scores = Key("scores", record["version"], record["recipe"], record["inputs"])
            evaluation = EvaluationConfig.model_validate(record["recipe"])
            corpus = lookup(record["inputs"]["corpus"])
            return replace(job, scores=scores, corpus=corpus, evaluation=evaluation)
        return replace(job, corpus=corpora[-1]) if corpora else job


def hand_over(
    student: Student,
    forms: Mapping[str, ExportConfig],
    output: Path,
    display: Display,
    *,
    overwrite: bool,
    threads: int,
) -> None:
    """Write each form into a folder of its name, one after another.

    Before the first one is written, all are checked: nothing is half done for a wrong word.

    Raises:
        InputError: the student is damaged, a form does not fit it, or a folder is there already.
        ExportFailed: a form is not the student; those before it are there.
    """
    fetch = student.named.fetch
    jobs = {output / name: student.job(config) for name, config in forms.items()}
    for place in jobs:
        if any(leftovers(place)):
            with _alone(place):
                _settle(place)
        _check_place(place, overwrite=overwrite)
    for job in jobs.values():
        try:
            job.check(fetch(job.student))
        except ArtifactDamaged as error:
            raise InputError(str(error)) from None
    _make_folder(output)
    for place, job in jobs.items():
        display.stage(f"Export as {place.name}")
        with disk_errors(place), _in_place(place, overwrite=overwrite) as folder:
            counts = job.make(folder, fetch, threads=threads)
        for line in _told(counts["measured"]):
            display.note(line)
        display.note(f"{place}")


def _make_folder(output: Path) -> None:
    """Make the folder of all forms.

    Raises:
        InputError: it cannot be made.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        raise InputError(f"--output {str(output)[:200]}: {told}; name another folder") from None


def _check_place(place: Path, *, overwrite: bool) -> None:
    """Refuse a place that holds something else.

    Raises:
        InputError: something is there that may not be replaced.
    """
    if not place.exists() and not place.is_symlink():
        return
    if not overwrite:
        raise InputError(
            f"{place}: is there already; name another folder with --output, or replace it with "
            "--overwrite"
        )
    if not (place.is_dir() and (place / MEASURED).is_file()):
        raise InputError(
            f"{place}: is no form that kdray wrote, and is not replaced; name another folder with "
            "--output"
        )


@contextmanager
def _in_place(place: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder to fill, which takes the place in the end; what was there goes when it comes.

    One command at a time; a second one waits for it.
    """
    old = place.with_name(f".{place.name}-{uuid.uuid4().hex[:8]}")

    def make_way() -> None:
        _check_place(place, overwrite=overwrite)
        if place.exists():
            place.rename(old)

    with _alone(place):
        try:
            with whole(place, record=CARD, may_move=make_way) as folder:
                yield folder
        finally:
            _settle(place)


def _alone(place: Path) -> Lease:
    return hold(place.with_name(f".{place.name}.lease"))


def _settle(place: Path) -> None:
    """Remove what stands beside a place, but for a whole form that was to come or to go.

    A command that is killed between its two renames leaves the place empty, and the form that was
    there and the one that replaces it beside it: the newer one comes to the place.
    """
    left = sorted(leftovers(place), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in left:
        if not place.exists() and (path / CARD).is_file() and (path / MEASURED).is_file():
            path.rename(place)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _told(measured: Mapping[str, Any]) -> Sequence[str]:
    """What was measured, in lines for a terminal."""
    lines: list[str] = []
    if measured["checked"] is not None:
        lines.append(measured["checked_words"])
    for split, row in measured["scores"].items():
        own = measured["of_student"].get(split, {})
        beside = ""
        if own and own != row:
            beside = f" (the student {own['bleu']:.2f} and {own['chrf']:.2f})"
        told = (
            f"BLEU {row['bleu']:.2f}, chrF {row['chrf']:.2f}{beside}"
            if "bleu" in row
            else row["unscored"]
        )
        lines.append(f"{split}: {told}")
    lines.append(f"{measured['bytes'] / 1e6:.2f} MB on disk")
    if (cost := measured["cost"]) is not None:
        lines.append(
            f"one sentence alone: {cost['latency_p50_ms']:.1f} ms (p95 "
            f"{cost['latency_p95_ms']:.1f}); many at once: {cost['sentences_per_second']:.0f} "
            f"sentences/s by {cost['threads']} threads; memory {cost['memory_bytes'] / 1e6:.0f} MB"
        )
    lines += measured["notes"]
    return lines
