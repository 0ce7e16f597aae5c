"""Teacher signals: translations, choices among them, and distributions, in shards on Ray Data."""

from kdray.artifacts import Brought, Key
from kdray.cluster.decode import ShardWork, make_shards
from kdray.jobs import Sharded
from kdray.plan.signals import Selecting
from kdray.schema import Form, View
from kdray.stages.models import teacher_paths
from kdray.stages.study import Study
from kdray.teacher.build import build_teacher
from kdray.teacher.distributions import DistributionJob
from kdray.teacher.engine import Teacher
from kdray.teacher.hypotheses import RecodingJob, TranslationJob
from kdray.teacher.selection import SelectionJob
from kdray.teacher.shards import ShardPlan


def make_signals(study: Study) -> None:
    """Make the signals that the plan names, as far as they are missing."""
    plan = study.plan.signals
    if plan.hypotheses is not None and not study.is_made(plan.hypotheses):
        _make_hypotheses(study, plan.hypotheses)
    if plan.recoded is not None and plan.hypotheses is not None:
        tokenizer = study.plan.tokenizer
        assert tokenizer is not None, "students have pieces of their own"
        job = RecodingJob(plan.hypotheses, tokenizer)
        study.store.cached(
            plan.recoded, lambda folder: job.make(folder, study.store.fetch, threads=1)
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
    job = TranslationJob(_teacher(study), study.plan.corpus, config)
    _run(study, f"Translations, beam {config.beam}", key, job)


def _make_selection(study: Study, key: Key, choice: Selecting) -> None:
    signals = study.plan.signals
    read = signals.recoded or signals.hypotheses
    assert read is not None, "the plan has a choice because it has hypotheses"
    _run(study, f"Choice for {choice.kind}", key, SelectionJob(read, study.plan.corpus, choice))


def _make_distributions(study: Study, key: Key, view: View, form: Form) -> None:
    config = study.recipe.signals.distributions(form)
    assert config is not None, "the plan has distributions because the recipe has them"
    hyps = study.plan.signals.hypotheses if view is View.HYPOTHESIS else None
    job = DistributionJob(_teacher(study), study.plan.teacher_encoded, hyps, config)
    _run(study, f"Distributions on {view}, {form}", key, job)


def _teacher(study: Study) -> Teacher:
    config = study.recipe.teacher
    assert config is not None, "the plan has signals because the recipe has a teacher"
    sources = map(Brought, teacher_paths(study), study.plan.teacher_fingerprints())
    return build_teacher(config, tuple(sources))


def _run(study: Study, title: str, key: Key, job: Sharded) -> None:
    """Make the shards that are missing, join all, and publish the artifact."""
    execution, fetch = study.experiment.execution, study.store.fetch
    work = study.store.work_path(key)
    work.mkdir(parents=True, exist_ok=True)
    on_gpu = job.on_gpu and execution.use_gpu
    device = "cuda" if on_gpu else "cpu"
    rows = job.prepare(work, fetch, device=device)
    plan = ShardPlan.open(work / "shards", rows=rows, shard_rows=execution.shard_pairs)
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

        arguments = {"work": work, "fetch": fetch, "device": device}
        shards = ShardWork(plan, job.builder, arguments, on_gpu=on_gpu)
        make_shards(shards, execution=execution, done=done)
    paths = [plan.path(i) for i in range(len(plan.ranges))]
    study.store.publish(key, lambda folder: job.join(paths, plan.counts(), folder, fetch))
