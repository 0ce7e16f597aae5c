"""Scores: every model on dev and on all tests, and the flat results that a report is made of."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdray.artifacts import Brought, Key
from kdray.cluster.evaluate import evaluate, evaluation_threads
from kdray.fit.history import HISTORY, read_history
from kdray.model.storage import load_model
from kdray.plan import TEACHER, ModelPlan, scores_key
from kdray.reporting.curves import Curves
from kdray.schema import Split
from kdray.scoring.evaluate import SCORES, EvaluationJob
from kdray.scoring.result import Result
from kdray.stages.models import model_run, teacher_paths
from kdray.stages.study import Study
from kdray.teacher.own import OwnModels


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is scored: one model, or the teachers together. `plan` is None if it was brought."""

    name: str
    fingerprints: tuple[str, ...]
    folders: tuple[Path, ...]
    plan: ModelPlan | None

    def key(self, study: Study) -> Key:
        """Identity of its scores."""
        return scores_key(study.recipe, study.plan, *self.fingerprints)

    def teacher(self) -> OwnModels:
        """As what it is evaluated."""
        return OwnModels(tuple(map(Brought, self.folders, self.fingerprints)))


def make_scores(study: Study) -> list[Result]:
    """Evaluate what is not evaluated yet; tell the tracker; -> all results, the teacher's first."""
    missing = {
        subject.fingerprints: subject
        for subject in _subjects(study)
        if not study.is_made(subject.key(study))
    }
    if missing:
        study.display.stage("Evaluation", f"{len(missing)} models")
        study.start_ray()
        threads = evaluation_threads(study.experiment.execution.evaluation_cpus)
        with study.display.bars() as bars:
            bars.move("models", 0, len(missing))
            for number, subject in enumerate(missing.values(), start=1):
                config = study.recipe.evaluation
                evaluate(
                    EvaluationJob(subject.teacher(), study.plan.corpus, config),
                    key=subject.key(study),
                    store=study.store,
                    threads=threads,
                    watch=lambda: None,
                )
                bars.move("models", number, len(missing), subject.name)
    return stored_results(study)


def stored_results(study: Study) -> list[Result]:
    """Results of all models that are scored, the teacher's first; the tracker is told."""
    results: list[Result] = []
    for subject in _subjects(study):
        if not study.is_made(subject.key(study)):
            continue
        found = _results(study, subject)
        results += found
        if subject.plan is not None:
            _track(study, subject.plan, found)
    return results


def curves(study: Study) -> Curves:
    """Histories of all trained models by name."""
    models = [*study.plan.students, *study.plan.teachers]
    return {
        model.name: read_history(study.path(model.key) / HISTORY)
        for model in models
        if study.is_made(model.key)
    }


def _subjects(study: Study) -> list[_Subject]:
    """The teacher, as one, and every student that is made."""
    plan, folders = study.plan, teacher_paths(study)
    there = all(study.is_made(model.key) for model in plan.teachers)
    subjects = [
        _Subject(model.name, (model.key.fingerprint,), (study.path(model.key),), model)
        for model in plan.students
        if study.is_made(model.key)
    ]
    if folders and there:
        only = plan.teachers[0] if len(plan.teachers) == 1 else None
        subjects.insert(0, _Subject(TEACHER, plan.teacher_fingerprints(), folders, only))
    return subjects


def _rows(path: Path) -> Sequence[Mapping[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((path / SCORES).read_text(encoding="utf-8"))
    return [{**row, "file": str(path / row["file"])} for row in rows]


def _results(study: Study, subject: _Subject) -> list[Result]:
    """One result for each split and beam."""
    model = subject.plan
    is_teacher = model is None or model in study.plan.teachers
    artifact = None if model is None else study.store.find(model.key)
    counts = {} if artifact is None else artifact.counts
    params = counts.get("num_params")
    params = params or sum(load_model(folder).num_params() for folder in subject.folders)
    return [
        Result(
            model="teacher" if is_teacher else "student",
            method=TEACHER if model is None else model.method_name,
            kind="cross_entropy" if model is None else model.method_kind,
            size=TEACHER if model is None else model.size,
            seed=0 if model is None else model.seed,
            split=row["split"],
            beam=row["beam"],
            bleu=row["bleu"],
            chrf=row["chrf"],
            bleu_signature=row["bleu_signature"],
            chrf_signature=row["chrf_signature"],
            num_params=params,
            target_tokens=counts.get("target_tokens"),
            updates=counts.get("updates"),
            train_seconds=counts.get("train_seconds"),
            decode_tokens_per_second=row["tokens_per_second"],
            decode_sentences_per_second=row["sentences_per_second"],
            fingerprint="+".join(subject.fingerprints),
            hyps_path=row["file"],
            budget=None if model is None else model.budget,
        )
        for row in _rows(study.path(subject.key(study)))
    ]


def _track(study: Study, model: ModelPlan, results: Sequence[Result]) -> None:
    """Scores of the widest beam under plain names, of the others with the beam in the name."""
    main = study.recipe.evaluation.beams[-1]
    final: dict[str, float] = {}
    for result in results:
        split = "dev_final" if result.split == Split.DEV else result.split.removeprefix("test-")
        suffix = "" if result.beam == main else f"_beam{result.beam}"
        final[f"{split}/bleu{suffix}"] = result.bleu
        final[f"{split}/chrf{suffix}"] = result.chrf
    speeds = [r.decode_tokens_per_second for r in results if r.beam == main]
    final["decode_tokens_per_second"] = max(speed for speed in speeds if speed is not None)
    final["num_params"] = results[0].num_params
    artifact = study.store.find(model.key)
    if artifact is not None and "shared_updates" in artifact.counts:
        final["shared_updates"] = artifact.counts["shared_updates"]
    history = read_history(study.path(model.key) / HISTORY)
    study.runs.finish_model(model_run(study, model), history, final)
