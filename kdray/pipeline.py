"""The straight path. This file alone knows the order of the stages.

corpus, tokenizer -> teacher -> signals -> students -> scores -> report
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from kdray.artifacts import Key
from kdray.errors import StageFailed
from kdray.plan import TEACHER, Plan, scores_key
from kdray.reporting.facts import ReportPaths
from kdray.scoring.result import Result
from kdray.stages.models import make_students, make_teacher
from kdray.stages.reporting import make_report
from kdray.stages.scores import make_scores, stored_results
from kdray.stages.signals import make_signals
from kdray.stages.study import Study
from kdray.stages.text import make_text

if TYPE_CHECKING:
    from kdray.cluster.search import TrialResult

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


def run_search_path(study: Study) -> "list[TrialResult]":
    """Make what all trials share, then search. The tests are not touched.

    Raises:
        StageFailed: trials failed; the table holds the others.
    """
    from kdray.stages.search import check_search, run_search  # with Ray Tune

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
    rows += [(TEACHER, f"{m.training.updates} updates", m.key) for m in plan.teachers]
    signals = plan.signals
    if signals.hypotheses is not None:
        rows.append(("signals", "hypotheses", signals.hypotheses))
    if signals.recoded is not None:
        rows.append(("signals", "hypotheses in the students' pieces", signals.recoded))
    rows += [("signals", f"{c.kind} among {c.needs().hypotheses} hypotheses", key)
             for c, key in signals.selections.items()]  # fmt: skip
    rows += [("signals", f"{form} on {view}", key)
             for (view, form), key in signals.distributions.items()]  # fmt: skip
    rows += _students(plan)
    recipe = study.recipe
    if teachers := plan.teacher_fingerprints():
        rows.append(("scores", TEACHER, scores_key(recipe, plan, *teachers)))
    return rows + [
        ("scores", m.name, scores_key(recipe, plan, m.key.fingerprint)) for m in plan.students
    ]


def _students(plan: Plan) -> list[tuple[str, str, Key]]:
    """Students and all that they go on from; a trunk once, before the first that leaves it."""
    rows = [("student" if m.until is None else "trunk", m.name, m.key)
            for student in plan.students for m in student.chain()]  # fmt: skip
    first = {key.fingerprint: place for place, (_, _, key) in reversed(list(enumerate(rows)))}
    return [row for place, row in enumerate(rows)
            if row[0] == "student" or first[row[2].fingerprint] == place]  # fmt: skip


def _tokenizer(study: Study) -> str:
    config = study.recipe.tokenizer
    assert config is not None, "the plan has a tokenizer because the recipe has one"
    return f"{config.model_type}, {config.vocab_size} pieces"
