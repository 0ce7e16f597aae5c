"""What is known of the models of a study: the flat results that a report is made of."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kdray.artifacts import Key
from kdray.cell import TEACHER
from kdray.fit.history import HISTORY, read_history
from kdray.plan.step import SCORES, STUDENT, Step
from kdray.reporting.curves import Curves
from kdray.runner.study import Study
from kdray.runner.training import model_run
from kdray.schema import Split
from kdray.scoring.evaluation import SCORES as FILE
from kdray.scoring.evaluation import EvaluationJob
from kdray.scoring.result import Result


def results_of(study: Study) -> list[Result]:
    """Results of all models that are scored, the teacher's first; the tracker is told."""
    models = {step.key.fingerprint: step for step in _models(study)}
    results: list[Result] = []
    for step in study.plan.of(SCORES):
        if study.is_made(step.key):
            of_model = _results(study, step)
            results += of_model
            model = models.get(of_model[0].fingerprint)
            if model is not None:
                _track(study, model, of_model)
    return results


def curves_of(study: Study) -> Curves:
    """Histories of all trained models."""
    return {
        step.cell: read_history(study.store.fetch(step.key) / HISTORY)
        for step in _models(study)
        if step.cell is not None and study.is_made(step.key)
    }


def _models(study: Study) -> Sequence[Step]:
    return (*study.plan.of(STUDENT), *study.plan.of(TEACHER))


def _results(study: Study, step: Step) -> list[Result]:
    """One result for each split and beam."""
    folder, job = study.store.fetch(step.key), step.job
    assert isinstance(job, EvaluationJob), "scores come from an evaluation"
    assert step.cell is not None, "scores are of one cell"
    rows: list[dict[str, Any]] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    counts = _counts(study, job)
    return [
        Result(
            cell=step.cell,
            kind=step.kind,
            split=row["split"],
            beam=row["beam"],
            bleu=row["bleu"],
            chrf=row["chrf"],
            bleu_signature=row["bleu_signature"],
            chrf_signature=row["chrf_signature"],
            num_params=counts["num_params"],
            target_tokens=counts.get("target_tokens"),
            updates=counts.get("updates"),
            train_seconds=counts.get("train_seconds"),
            decode_tokens_per_second=row["tokens_per_second"],
            decode_sentences_per_second=row["sentences_per_second"],
            fingerprint="+".join(job.teacher.fingerprints),
            hyps_path=str(folder / row["file"]),
        )
        for row in rows
    ]


def _counts(study: Study, job: EvaluationJob) -> Mapping[str, Any]:
    """What the record of one trained model says; of others only how large they are."""
    sources = job.teacher.sources
    if len(sources) == 1 and isinstance(sources[0], Key):
        artifact = study.find(sources[0])
        assert artifact is not None, "its scores exist, so it does"
        return artifact.counts
    return {"num_params": job.teacher.num_params(study.store.fetch)}


def _track(study: Study, model: Step, results: Sequence[Result]) -> None:
    """Scores of the main beam under plain names, of the others with the beam in the name.

    Names that a user gave to tests stand below `test/`, where kdray has no curve of its own. The
    run lasts as long as its training, also if another study trained the model.
    """
    main = study.recipe.evaluation.beams[-1]
    scores: dict[str, float] = {}
    for result in results:
        is_dev = result.split == Split.DEV
        split = "dev_final" if is_dev else f"test/{result.split.removeprefix('test-')}"
        suffix = "" if result.beam == main else f"_beam{result.beam}"
        scores[f"{split}/bleu{suffix}"] = result.bleu
        scores[f"{split}/chrf{suffix}"] = result.chrf
    speeds = [r.decode_tokens_per_second for r in results if r.beam == main]
    scores["decode_tokens_per_second"] = max(speed for speed in speeds if speed is not None)
    artifact = study.find(model.key)
    assert artifact is not None, "it is scored, so it is made"
    for name in ("num_params", "shared_updates"):
        if name in artifact.counts:
            scores[name] = artifact.counts[name]
    history = read_history(study.store.fetch(model.key) / HISTORY)
    run_id = model_run(study, model, began=history[0]["time"])
    tracker = study.runs.tracker
    tracker.log_history(run_id, history)
    tracker.log_scores(run_id, scores)
    tracker.finish(run_id, "FINISHED", ended=history[-1]["time"])
