"""Teacher signals: translations, choices among them, and distributions, in shards on Ray Data."""

from collections.abc import Callable, Mapping
from typing import Any

from kdray.artifacts import Key
from kdray.cluster.decode import Build, ShardWork, make_shards
from kdray.config.teacher import EnsembleTeacherConfig
from kdray.plan.signals import Selecting
from kdray.schema import Form, Split, View
from kdray.stages.models import teacher_paths
from kdray.stages.study import Study
from kdray.stages.text import students_tokenizer
from kdray.teacher import distributions, hypotheses, selection
from kdray.teacher.distributions import DistributionMaker
from kdray.teacher.hypotheses import Hypotheses, HypothesisMaker, export_teacher
from kdray.teacher.selection import SelectionMaker
from kdray.teacher.shards import ShardPlan
from kdray.text.encoded import EncodedSplit
from kdray.text.tokenizer import Tokenizer


def make_signals(study: Study) -> None:
    """Make the signals that the plan names, as far as they are missing."""
    plan = study.plan.signals
    if plan.hypotheses is not None and not study.is_made(plan.hypotheses):
        _make_hypotheses(study, plan.hypotheses)
    if plan.recoded is not None and plan.hypotheses is not None:
        tokenizer = Tokenizer.load(students_tokenizer(study))
        stored = study.path(plan.hypotheses)
        study.store.cached(
            plan.recoded, lambda folder: hypotheses.recode(stored, tokenizer, folder)
        )
    for choice, key in plan.selections.items():
        if not study.is_made(key):
            _make_selection(study, key, choice)
    for (view, form), key in plan.distributions.items():
        if not study.is_made(key):
            _make_distributions(study, key, view, form)
    _say_what_is_read(study)


def _say_what_is_read(study: Study) -> None:
    """Tell which form each method reads, where it could have read another."""
    said: set[str] = set()
    for student in study.plan.students:
        for model in student.chain():
            for view, usable in model.method.needs().distributions.items():
                form = study.recipe.signals.best(model.method.needs(), view)
                line = f"{student.method_name} reads the teacher on {view} from {form}"
                if (
                    len(set(usable) & set(study.recipe.signals.forms(view))) > 1
                    and line not in said
                ):
                    said.add(line)
                    study.display.note(line)


def _make_hypotheses(study: Study, key: Key) -> None:
    config = study.recipe.signals.hypotheses
    assert config is not None, "the plan has hypotheses because the recipe has them"
    work, encoded = study.store.work_path(key), study.path(study.plan.teacher_encoded)
    work.mkdir(parents=True, exist_ok=True)
    teachers = teacher_paths(study)
    exported = work / "ctranslate2"
    if len(teachers) == 1 and _device(study) == "cpu":
        export_teacher(teachers[0], exported)
    rows = len(EncodedSplit.load(encoded, Split.TRAIN))
    arguments = {
        "models": teachers,
        "exported": exported,
        "encoded": encoded,
        "config": config,
        "threads": 1,
        "device": _device(study),
        "by_perplexity": _by_perplexity(study),
    }
    plan = _run(study, f"Translations, beam {config.beam}", key, rows, HypothesisMaker, arguments)
    study.store.publish(key, lambda folder: hypotheses.join_shards(plan, encoded, folder))


def _make_selection(study: Study, key: Key, choice: Selecting) -> None:
    signals = study.plan.signals
    read = signals.recoded or signals.hypotheses
    assert read is not None, "the plan has a choice because it has hypotheses"
    stored = study.path(read)
    arguments = {
        "hypotheses": stored,
        "corpus": study.path(study.plan.corpus),
        "config": choice,
    }
    rows = len(Hypotheses.load(stored).pair_ids)
    title = f"Choice for {choice.kind}"
    plan = _run(study, title, key, rows, SelectionMaker, arguments, on_gpu=False)
    study.store.publish(key, lambda folder: selection.join_shards(plan, stored, folder))


def _make_distributions(study: Study, key: Key, view: View, form: Form) -> None:
    config = study.recipe.signals.distributions(form)
    assert config is not None, "the plan has distributions because the recipe has them"
    encoded = study.path(study.plan.teacher_encoded)
    hyps = study.plan.signals.hypotheses if view is View.HYPOTHESIS else None
    rows = len(EncodedSplit.load(encoded, Split.TRAIN))
    if hyps is not None:
        rows = len(Hypotheses.load(study.path(hyps)).pair_ids)
    arguments = {
        "models": teacher_paths(study),
        "encoded": encoded,
        "hypotheses": None if hyps is None else study.path(hyps),
        "view": view,
        "config": config,
        "device": _device(study),
        "by_perplexity": _by_perplexity(study),
    }
    title = f"Distributions on {view}, {form}"
    plan = _run(study, title, key, rows, DistributionMaker, arguments)
    study.store.publish(key, lambda folder: distributions.join_shards(plan, rows, folder))


def _device(study: Study) -> str:
    return "cuda" if study.experiment.execution.use_gpu else "cpu"


def _by_perplexity(study: Study) -> bool:
    teacher = study.recipe.teacher
    return isinstance(teacher, EnsembleTeacherConfig) and teacher.weights == "perplexity"


def _run(
    study: Study,
    title: str,
    key: Key,
    rows: int,
    maker: Callable[..., Build],
    arguments: Mapping[str, Any],
    *,
    on_gpu: bool = True,
) -> ShardPlan:
    execution = study.experiment.execution
    folder = study.store.work_path(key) / "shards"
    plan = ShardPlan.open(folder, rows=rows, shard_rows=execution.shard_pairs)
    missing = plan.missing()
    left = sum(stop - start for start, stop in (plan.ranges[i] for i in missing))
    study.display.stage(title, f"{left} of {rows} pairs in {len(missing)} shards")
    study.start_ray()
    with study.display.bars() as bars:
        made = rows - left
        bars.move("pairs", made, rows)

        def done(pairs: int) -> None:
            nonlocal made
            made += pairs
            bars.move("pairs", made, rows)

        work = ShardWork(plan, maker, arguments, on_gpu=on_gpu and execution.use_gpu)
        make_shards(work, execution=execution, done=done)
    return plan
