"""A step: one artifact, what it reads, and the plain job that makes it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kdray.artifacts import Key
from kdray.cell import TEACHER, Cell, shown
from kdray.fit.spec import TeacherLayers, TrainingSpec
from kdray.jobs import Sharded, Whole
from kdray.tracking import FINGERPRINT, NOTE, ROLE

CORPUS, TOKENIZER, ENCODED, SIGNALS = "corpus", "tokenizer", "encoded", "signals"
TRUNK, STUDENT, EXPORT, SCORES, SCORER = "trunk", "student", "export", "scores", "scorer"
COMPLEXITY, TEACHER_COMPLEXITY, GATES = "complexity", "teacher_complexity", "gates"
TRIAL = "trial"  # of a search: a student that stands in no plan
STAGES = (
    *(CORPUS, TOKENIZER, ENCODED, TEACHER, SIGNALS, TRUNK, STUDENT, SCORES, SCORER),
    *(COMPLEXITY, TEACHER_COMPLEXITY, GATES, EXPORT),
)
"""The stages, in the order of the path. A teacher, a trunk and a student are trainings."""

Job = Whole | Sharded | TrainingSpec


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be made, as plain data. Whoever runs it looks for it first, and tracks it.

    Attributes:
        job: what makes it. Its type says how: whole, in shards, or as a training.
        stage: what kind of step it is: one of the constants above.
        name: names it in tables, messages, reports and MLflow.
        heading: what a person sees while it is made. Neighbours with the same heading do not read
            one another: they may be made side by side.
        detail: what a table of the plan shows in place of the name.
        cell: which model of the study it is, leads to, or scores.
        kind: of the method, as the recipe has it.
        is_goal: whether it is wanted for itself, and not only for what reads it.
        key: what the job makes, and so whether it exists already.
        reads: artifacts that have to be there before.
    """

    job: Job
    stage: str
    name: str
    heading: str
    detail: str = ""
    cell: Cell | None = None
    kind: str = ""
    is_goal: bool = True
    key: Key = field(init=False)
    reads: tuple[Key, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.job.key)  # worked out once: the class is frozen
        object.__setattr__(self, "reads", self.job.reads)


def spec_of(step: Step) -> TrainingSpec:
    """The training that a teacher, a trunk or a student is."""
    assert isinstance(step.job, TrainingSpec), f"{step.stage} is no training"
    return step.job


def tags_of(step: Step) -> Mapping[str, str]:
    """What MLflow finds a model's run by, and a description of it in one line."""
    spec, cell = spec_of(step), step.cell
    assert cell is not None, "every model has one"
    return {
        ROLE: step.stage,
        FINGERPRINT: step.key.fingerprint,
        NOTE: _description(step, cell),
        "kdray.method": step.kind,
        "kdray.method_name": cell.method,
        "kdray.size": cell.size,
        "kdray.seed": str(spec.seed),
        "kdray.corpus": spec.corpus.fingerprint,
        **{f"kdray.axis.{axis}": label for axis, label in cell.point},
    }


def _description(step: Step, cell: Cell) -> str:
    method = "" if cell.is_teacher else f" by {cell.method} ({step.kind})"
    length = "" if cell.length is None else f", {cell.length} updates"
    point = f", at {shown(cell.point)}" if cell.point else ""
    spec = spec_of(step)
    return f"A {step.stage}{method}: size {cell.size}, seed {spec.seed}{length}{point}."


def params_of(step: Step) -> Mapping[str, object]:
    """What MLflow is told of a model, beside its tags."""
    spec, cell = spec_of(step), step.cell
    assert cell is not None, "every model has one"
    start = next(spec.chain()).start if spec.trunk is not None else spec.start
    initial = {"initial": start.recipe()} if isinstance(start, TeacherLayers) else {}
    return {
        "method_name": cell.method,
        "size": cell.size,
        "seed": spec.seed,
        "model": spec.model.model_dump(mode="json"),
        "method": spec.method.model_dump(mode="json"),
        "training": spec.training.model_dump(mode="json"),
        **({"axes": dict(cell.point)} if cell.point else {}),
        **initial,
    }


def up_to(steps: Sequence[Step], stage: str) -> tuple[Step, ...]:
    """The steps of a stage and of those before it."""
    last = STAGES.index(stage)
    return tuple(step for step in steps if STAGES.index(step.stage) <= last)


def unique(steps: Iterable[Step]) -> Iterator[Step]:
    """The first step of each artifact."""
    first: dict[str, Step] = {}
    for step in steps:
        first.setdefault(step.key.fingerprint, step)
    return iter(first.values())


def shown_once(steps: Iterable[Step]) -> Iterator[Step]:
    """All goals, and what they go on from once each."""
    seen: set[str] = set()
    for step in steps:
        if step.is_goal or step.key.fingerprint not in seen:
            yield step
        seen.add(step.key.fingerprint)


def wanted(steps: Sequence[Step], is_made: Callable[[Key], bool]) -> set[str]:
    """Fingerprints of what is to be made: goals, and what those that are missing read."""
    names: set[str] = set()
    for step in reversed(steps):
        if (step.is_goal or step.key.fingerprint in names) and not is_made(step.key):
            names.add(step.key.fingerprint)
            names.update(key.fingerprint for key in step.reads)
    return names
