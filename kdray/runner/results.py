"""What is known of the models of a study: the flat results that a report is made of."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from kdray.artifacts import Key, read_json
from kdray.cell import TEACHER
from kdray.condition import Condition
from kdray.fit.history import HISTORY, best_values, read_history
from kdray.plan.step import SCORER, SCORES, STUDENT, Step, params_of, tags_of, unique
from kdray.reporting.curves import Curves
from kdray.runner.models import model_run
from kdray.runner.study import Study
from kdray.runner.told import tell_data, tell_samples
from kdray.schema import Split
from kdray.scoring.evaluation import LEFT_OUT, UNSCORED, EvaluationJob, condition_of
from kdray.scoring.evaluation import SCORES as FILE
from kdray.scoring.job import ScorerJob
from kdray.scoring.result import Result, Score

TRAINED = ("num_params", "target_tokens", "updates", "train_seconds")
"""What a result takes over from the record of the model."""
FORCED = {"loss": ("nats a token", False), "accuracy": ("% of tokens", True)}
"""What is measured under teacher forcing: its unit, and whether more is better."""


def results_of(study: Study) -> list[Result]:
    """Results of all models that are scored, the teacher's first; the tracker is told."""
    models = {step.key.fingerprint: step for step in unique(_models(study))}
    told = {} if study.store.only_looks else study.runs.tracker.told(study.runs.parent)
    results: list[Result] = []
    for step in study.display.followed("scores", study.plan.of(SCORES)):
        if study.is_made(step.key) and all(map(study.is_made, step.reads)):
            of_model = _results(study, step)
            results += of_model
            model = models.get(of_model[0].fingerprint) if of_model else None
            if model is not None and not study.store.only_looks:
                _track(study, model, of_model, told, scored=step.key)
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
    """One result for each split and condition that could be scored."""
    folder, job = study.store.fetch(step.key), step.job
    assert isinstance(job, EvaluationJob), "scores come from an evaluation"
    assert step.cell is not None, "scores are of one cell"
    counts = _counts(study, job)
    trained: dict[str, Any] = {name: counts.get(name) for name in TRAINED}
    from_outside = _scores_from_outside(study, step)
    return [
        Result(
            cell=step.cell,
            kind=step.kind,
            split=row["split"],
            condition=condition_of(row),
            scores=_own_scores(row, folder)
            | from_outside.get((row["split"], condition_of(row)), {}),
            **trained,
            decode_tokens_per_second=row.get("tokens_per_second"),
            decode_sentences_per_second=row.get("sentences_per_second"),
            fingerprint="+".join(job.teacher.fingerprints),
            hyps_path=str(folder / row["file"]) if "file" in row else None,
        )
        for row in _rows(folder)
        if UNSCORED not in row
    ]


def _own_scores(row: Mapping[str, Any], folder: Path) -> dict[str, Score]:
    if "counts" not in row:
        return {name: Score(row[name], *how) for name, how in FORCED.items()}
    counts = str(folder / row["counts"])
    return {
        name: Score(row[name], row[f"{name}_signature"], segments_path=counts)
        for name in ("bleu", "chrf")
    }


def _scores_from_outside(
    study: Study, scores: Step
) -> Mapping[tuple[str, Condition], dict[str, Score]]:
    """What the scorers that ran through say of a model, by split and condition, then by scorer."""
    said: dict[tuple[str, Condition], dict[str, Score]] = {}
    for step in study.plan.of(SCORER) if study.recipe.evaluation.scorers else ():
        job = step.job
        assert isinstance(job, ScorerJob), "the stage has no other"
        if job.scores == scores.key and study.is_made(step.key):
            folder, config = study.store.fetch(step.key), job.config
            for row in _rows(folder):
                path = str(folder / row["file"])
                score = Score(row["value"], config.signature, config.higher_is_better, path)
                said.setdefault((row["split"], condition_of(row)), {})[job.name] = score
    return said


def unscored(study: Study) -> list[str]:
    """What could not be scored, or not all of it, and why, in words; the other scores are there."""
    reasons: dict[tuple[str, str], list[tuple[str, str]]] = {}
    left_out: dict[str, None] = {}
    for step in study.plan.of(SCORES):
        for row in _rows(study.store.fetch(step.key)) if study.is_made(step.key) else ():
            condition = condition_of(row)
            if UNSCORED in row:
                place = (row["split"], condition.name)
                reasons.setdefault((step.name, row[UNSCORED]), []).append(place)
            elif lines := row.get(LEFT_OUT):
                told = f"{lines} references are too short to be cut there, and are left out"
                left_out[f"{row['split']}, {condition.title}: {told}"] = None
    return [*(_told(study, *of, places) for of, places in reasons.items()), *left_out]


def _told(study: Study, name: str, reason: str, places: Sequence[tuple[str, str]]) -> str:
    splits, conditions = (dict.fromkeys(side) for side in zip(*places, strict=True))
    under = f" ({', '.join(conditions)})"
    if len(conditions) == len(study.recipe.evaluation.conditions):
        under = ""
    return f"{name} has no scores on {' and '.join(splits)}{under}: {reason}"


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


def _track(
    study: Study, model: Step, results: Sequence[Result], told: Mapping[str, str], *, scored: Key
) -> None:
    """Scores of the main beam under plain names, of others with the condition in the name.

    Names that a user gave to tests stand below `test/`, where kdray has no curve of its own. The
    run lasts as long as its training, also if another study trained the model. A run that was told
    all of this (`told`, by run ids) is left as it is.
    """
    main = Condition.of_beam(study.recipe.evaluation.main_beam)
    history = read_history(study.store.fetch(model.key) / HISTORY)
    scores = dict(best_values(history))
    for result in results:
        is_dev = result.split == Split.DEV
        split = "dev_final" if is_dev else f"test/{result.split.removeprefix('test-')}"
        suffix = "" if result.condition == main else f"_{result.condition}"
        for name, score in result.scores.items():
            scores[f"{split}/{name}{suffix}"] = score.value
    speeds = [r.decode_tokens_per_second for r in results if r.condition == main]
    if known := [speed for speed in speeds if speed is not None]:
        scores["decode_tokens_per_second"] = max(known)
    artifact = study.store.find(model.key)
    assert artifact is not None, "it is scored, so it is made"
    for name in ("num_params", "shared_updates"):
        if name in artifact.counts:
            scores[name] = artifact.counts[name]
    all_of_it = [history, scores, params_of(model), tags_of(model), scored.fingerprint]
    digest = sha256(json.dumps(all_of_it, default=str).encode()).hexdigest()
    if told.get(study.runs.ids.get(model.key.fingerprint, "")) == digest:
        return
    run_id = model_run(study, model, began=history[0]["time"])
    tracker = study.runs.tracker
    tracker.log_history(run_id, history)
    tracker.log_scores(run_id, scores)
    tell_data(study, model, run_id)
    tell_samples(study, model, run_id, results)
    tracker.finish(run_id, "FINISHED", ended=history[-1]["time"], told=digest)
