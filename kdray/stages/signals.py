"""Teacher signals: translations and distributions, made in shards on Ray Data."""

from collections.abc import Callable, Mapping

from kdray.artifacts import Key
from kdray.cluster.decode import Build, ShardWork, make_shards
from kdray.schema import Split, View
from kdray.stages.models import teacher_path
from kdray.stages.study import Study
from kdray.stages.text import students_tokenizer
from kdray.teacher import distributions, hypotheses
from kdray.teacher.distributions import DistributionMaker
from kdray.teacher.hypotheses import Hypotheses, HypothesisMaker, export_teacher
from kdray.teacher.shards import ShardPlan
from kdray.text.encoded import EncodedSplit
from kdray.text.tokenizer import Tokenizer


def make_signals(study: Study) -> None:
    """Make the signals that the plan names, as far as they are missing."""
    plan = study.plan
    if plan.hypotheses is not None and not study.is_made(plan.hypotheses):
        _make_hypotheses(study, plan.hypotheses)
    if plan.recoded is not None and plan.hypotheses is not None:
        tokenizer = Tokenizer.load(students_tokenizer(study))
        stored = study.path(plan.hypotheses)
        study.store.cached(
            plan.recoded, lambda folder: hypotheses.recode(stored, tokenizer, folder)
        )
    for view, key in plan.distributions.items():
        if not study.is_made(key):
            _make_distributions(study, key, view)


def _make_hypotheses(study: Study, key: Key) -> None:
    config = study.recipe.signals.hypotheses
    assert config is not None, "the plan has hypotheses because the recipe has them"
    work, encoded = study.store.work_path(key), study.path(study.plan.teacher_encoded)
    work.mkdir(parents=True, exist_ok=True)
    exported = work / "ctranslate2"
    export_teacher(teacher_path(study), exported)
    rows = len(EncodedSplit.load(encoded, Split.TRAIN))
    arguments = {
        "model": teacher_path(study),
        "exported": exported,
        "encoded": encoded,
        "config": config,
        "threads": 1,
    }
    plan = _run(study, f"Translations, beam {config.beam}", key, rows, HypothesisMaker, arguments)
    study.store.publish(key, lambda folder: hypotheses.join_shards(plan, encoded, folder))


def _make_distributions(study: Study, key: Key, view: View) -> None:
    config = study.recipe.signals.distributions
    assert config is not None, "the plan has distributions because the recipe has them"
    encoded = study.path(study.plan.teacher_encoded)
    hyps = study.plan.hypotheses if view is View.HYPOTHESIS else None
    rows = len(EncodedSplit.load(encoded, Split.TRAIN))
    if hyps is not None:
        rows = len(Hypotheses.load(study.path(hyps)).pair_ids)
    arguments = {
        "model": teacher_path(study),
        "encoded": encoded,
        "hypotheses": None if hyps is None else study.path(hyps),
        "view": view,
        "config": config,
        "device": "cuda" if study.experiment.execution.use_gpu else "cpu",
    }
    title = f"Distributions on {view}, top {config.k}"
    plan = _run(study, title, key, rows, DistributionMaker, arguments)
    study.store.publish(key, lambda folder: distributions.join_shards(plan, rows, config, folder))


def _run(
    study: Study,
    title: str,
    key: Key,
    rows: int,
    maker: Callable[..., Build],
    arguments: Mapping[str, object],
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

        make_shards(ShardWork(plan, maker, arguments), execution=execution, done=done)
    return plan
