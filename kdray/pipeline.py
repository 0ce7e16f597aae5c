"""The straight path. This file alone knows the order of the stages.

corpus, tokenizer -> teacher -> signals -> students -> scores -> report
"""

from collections.abc import Callable

from kdray.artifacts import Key
from kdray.cluster.search import TrialResult
from kdray.errors import StageFailed
from kdray.plan import ModelPlan, Plan, scores_key
from kdray.reporting.facts import ReportPaths
from kdray.scoring.result import Result
from kdray.stages.models import make_students, make_teacher
from kdray.stages.reporting import make_report
from kdray.stages.scores import make_scores, stored_results
from kdray.stages.search import check_search, run_search
from kdray.stages.signals import make_signals
from kdray.stages.study import Study
from kdray.stages.text import make_text

STAGES: dict[str, tuple[Callable[[Study], object], ...]] = {
    "decode": (make_text, make_teacher, make_signals),
    "train": (make_text, make_teacher, make_signals, make_students),
}
"""What each verb runs; every stage is a look-up when its artifact exists."""


def run_stages(study: Study, verb: str) -> None:
    """Run the path up to the end of a verb.

    Raises:
        KdrayError: a stage could not be finished; what was made is kept.
    """
    for stage in STAGES[verb]:
        stage(study)


def run_evaluation(study: Study) -> list[Result]:
    """Run the path up to the scores of all models."""
    run_stages(study, "train")
    return make_scores(study)


def run_study(study: Study) -> tuple[list[Result], ReportPaths]:
    """Run the whole path. Students that fail are left out of the report and named in it."""
    results = run_evaluation(study)
    return results, make_report(study, results)


def run_report(study: Study) -> tuple[list[Result], ReportPaths]:
    """Write the report of the models that are scored already.

    Raises:
        StageFailed: none is.
    """
    results = stored_results(study)
    if not results:
        raise StageFailed(
            f"{study.store.root}: no model of this experiment is scored; run `python -m "
            "kdray.evaluate` with the same configuration first"
        )
    return results, make_report(study, results)


def run_search_path(study: Study) -> list[TrialResult]:
    """Make what all trials share, then search. The tests are not touched.

    Raises:
        StageFailed: trials failed; the table holds the others.
    """
    config = check_search(study)
    run_stages(study, "decode")
    return run_search(study, config)


def check_complete(study: Study) -> None:
    """End a command whose study lacks students with an error, after all the rest was done.

    Raises:
        StageFailed: some students failed.
    """
    if study.notes:
        failed = "\n  ".join(study.notes)
        raise StageFailed(
            f"{len(study.notes)} of {len(study.plan.students)} students failed; the report holds "
            f"the others:\n  {failed}"
        )


def stages_of(study: Study) -> list[tuple[str, str, Key]]:
    """Every artifact of the path in order: stage, what it is, key."""
    plan = study.plan
    rows: list[tuple[str, str, Key]] = [("corpus", study.recipe.corpus.kind, plan.corpus)]
    if plan.tokenizer is not None:
        rows.append(("tokenizer", _tokenizer(study), plan.tokenizer))
    rows.append(("encoded", "ids of train and dev", plan.encoded))
    if plan.teacher_encoded != plan.encoded:
        rows.append(("encoded", "ids for the teacher", plan.teacher_encoded))
    if plan.teacher is not None:
        rows.append(("teacher", f"{plan.teacher.training.updates} updates", plan.teacher.key))
    if plan.hypotheses is not None:
        rows.append(("signals", "hypotheses", plan.hypotheses))
    if plan.recoded is not None:
        rows.append(("signals", "hypotheses in the students' pieces", plan.recoded))
    rows += [("signals", f"distributions on {on}", key) for on, key in plan.distributions.items()]
    rows += [("student", model.name, model.key) for model in plan.students]
    return rows + [("scores", model.name, _scores(study, plan, model)) for model in _models(plan)]


def _models(plan: Plan) -> list[ModelPlan]:
    return [*([plan.teacher] if plan.teacher else []), *plan.students]


def _scores(study: Study, plan: Plan, model: ModelPlan) -> Key:
    return scores_key(study.recipe, plan, model.key.fingerprint)


def _tokenizer(study: Study) -> str:
    config = study.recipe.tokenizer
    assert config is not None, "the plan has a tokenizer because the recipe has one"
    return f"{config.model_type}, {config.vocab_size} pieces"
