"""What is known of the models of a study: the flat results that a report is made of."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdray.artifacts import Key, read_json
from kdray.cell import TEACHER
from kdray.fit.history import HISTORY, read_history
from kdray.plan.step import SCORES, STUDENT, Step, unique
from kdray.reporting.curves import Curves
from kdray.runner.models import model_run
from kdray.runner.study import Study
from kdray.schema import Split
from kdray.scoring.evaluation import SCORES as FILE
from kdray.scoring.evaluation import UNSCORED, EvaluationJob
from kdray.scoring.result import Result

MEASURED = ("split", "beam", "bleu", "chrf", "bleu_signature", "chrf_signature")
TRAINED = ("num_params", "target_tokens", "updates", "train_seconds")
"""What a result takes over from an evaluation, and from the record of the model."""


def results_of(study: Study) -> list[Result]:
    """Results of all models that are scored, the teacher's first; the tracker is told."""
    models = {step.key.fingerprint: step for step in unique(_models(study))}
    results: list[Result] = []
    for step in study.plan.of(SCORES):
        if study.is_made(step.key) and all(map(study.is_made, step.reads)):
            of_model = _results(study, step)
            results += of_model
            model = models.get(of_model[0].fingerprint) if of_model else None
            if model is not None and not study.store.only_looks:
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
    """One result for each split and beam that could be scored."""
    folder, job = study.store.fetch(step.key), step.job
    assert isinstance(job, EvaluationJob), "scores come from an evaluation"
    assert step.cell is not None, "scores are of one cell"
    counts = _counts(study, job)
    trained: dict[str, Any] = {name: counts.get(name) for name in TRAINED}
    return [
        Result(
            cell=step.cell,
            kind=step.kind,
            **{name: row[name] for name in MEASURED},
            **trained,
            decode_tokens_per_second=row["tokens_per_second"],
            decode_sentences_per_second=row["sentences_per_second"],
            fingerprint="+".join(job.teacher.fingerprints),
            hyps_path=str(folder / row["file"]),
        )
        for row in _rows(folder)
        if UNSCORED not in row
    ]


def unscored(study: Study) -> list[str]:
    """What could not be scored, and why, in words; the other scores are there."""
    reasons: dict[str, None] = {}
    for step in study.plan.of(SCORES):
        if study.is_made(step.key):
            for row in _rows(study.store.fetch(step.key)):
                if UNSCORED in row:
                    reasons[f"{step.name} has no scores on {row['split']}: {row[UNSCORED]}"] = None
    return list(reasons)


def _rows(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_json(folder / FILE)
    return rows


def _counts(study: Study, job: EvaluationJob) -> Mapping[str, Any]:
    """What the record of one trained model says; of others only how large they are."""
    sources = job.teacher.sources
    if len(sources) == 1 and isinstance(sources[0], Key):
        artifact = study.store.find(sources[0])
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
    if known := [speed for speed in speeds if speed is not None]:
        scores["decode_tokens_per_second"] = max(known)
    artifact = study.store.find(model.key)
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
