"""Scores: every model on dev and on all tests, and the flat results that a report is made of."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdray.cluster.evaluate import evaluate, evaluation_threads
from kdray.fit.checkpoint import HISTORY, read_history
from kdray.model.storage import load_model
from kdray.plan import TEACHER, ModelPlan, brought_checksum, scores_key
from kdray.reporting.curves import Curves
from kdray.schema import Split
from kdray.scoring.evaluate import SCORES, EvaluationJob
from kdray.scoring.result import Result
from kdray.stages.models import model_run, teacher_path
from kdray.stages.study import Study


def make_scores(study: Study) -> list[Result]:
    """Evaluate what is not evaluated yet; tell the tracker; -> all results, the teacher's first."""
    subjects = _subjects(study)
    missing = [s for s in subjects if not study.is_made(scores_key(study.recipe, study.plan, s[1]))]
    if missing:
        study.display.stage("Evaluation", f"{len(missing)} models")
        study.start_ray()
        threads = evaluation_threads(study.experiment.execution.evaluation_cpus)
        with study.display.bars() as bars:
            bars.move("models", 0, len(missing))
            for number, (name, fingerprint, path, _) in enumerate(missing, start=1):
                evaluate(
                    EvaluationJob(path, study.path(study.plan.corpus), study.recipe.evaluation),
                    key=scores_key(study.recipe, study.plan, fingerprint),
                    store=study.store,
                    threads=threads,
                    watch=lambda: None,
                )
                bars.move("models", number, len(missing), name)
    return stored_results(study)


def stored_results(study: Study) -> list[Result]:
    """Results of all models that are scored, the teacher's first; the tracker is told."""
    results: list[Result] = []
    for _, fingerprint, _, model in _subjects(study):
        if not study.is_made(scores_key(study.recipe, study.plan, fingerprint)):
            continue
        found = _results(study, _scores(study, fingerprint), fingerprint, model)
        results += found
        if model is not None:
            _track(study, model, found)
    return results


def curves(study: Study) -> Curves:
    """Histories of all trained models by name."""
    models = [*study.plan.students, *([study.plan.teacher] if study.plan.teacher else [])]
    return {
        model.name: read_history(study.path(model.key) / HISTORY)
        for model in models
        if study.is_made(model.key)
    }


_Subject = tuple[str, str, Path, ModelPlan | None]  # name, fingerprint, folder, plan if trained


def _subjects(study: Study) -> list[_Subject]:
    models = [*([study.plan.teacher] if study.plan.teacher else []), *study.plan.students]
    trained: list[_Subject] = [
        (model.name, model.key.fingerprint, study.path(model.key), model)
        for model in models
        if study.is_made(model.key)
    ]
    if study.plan.brought is None:
        return trained
    return [(TEACHER, brought_checksum(study.plan.brought), study.plan.brought, None), *trained]


def _scores(study: Study, fingerprint: str) -> Sequence[Mapping[str, Any]]:
    path = study.path(scores_key(study.recipe, study.plan, fingerprint)) / SCORES
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return [{**row, "file": str(path.with_name(row["file"]))} for row in rows]


def _results(
    study: Study,
    rows: Sequence[Mapping[str, Any]],
    fingerprint: str,
    model: ModelPlan | None,
) -> list[Result]:
    """One result for each split and beam."""
    is_teacher = model is None or model is study.plan.teacher
    artifact = None if model is None else study.store.find(model.key)
    counts = {} if artifact is None else artifact.counts
    params = counts.get("num_params") or load_model(teacher_path(study)).num_params()
    return [
        Result(
            model="teacher" if is_teacher else "student",
            method=TEACHER if model is None else model.method_name,
            kind="cross_entropy" if model is None else model.method.kind,
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
            fingerprint=fingerprint,
            hyps_path=row["file"],
        )
        for row in rows
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
    history = read_history(study.path(model.key) / HISTORY)
    study.runs.finish_model(model_run(study, model), history, final)
