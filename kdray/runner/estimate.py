"""What will a study take? Hours, device hours and bytes, worked out from a sample of it.

Each training is its updates times what one took in the sample; each signal its pairs, or tokens,
times what one took. Where a study is finished, its own records stand beside the estimate.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdray.cell import TEACHER
from kdray.config.costs import Update
from kdray.config.execution import Execution
from kdray.errors import StageFailed
from kdray.fit.spec import AfterStage, OffTrunk, TrainingSpec
from kdray.plan.experiment import Plan
from kdray.plan.step import (
    CORPUS,
    ENCODED,
    SCORES,
    SIGNALS,
    STUDENT,
    TOKENIZER,
    TRUNK,
    Step,
    spec_of,
    unique,
)
from kdray.runner.sampling import Sampled
from kdray.runner.study import Study
from kdray.teacher.distributions import DistributionJob


@dataclass(frozen=True, slots=True)
class Devices:
    """What works: CPUs, and how many runs of training and processes of decoding go on at once.

    speed: of one device, in those of the cluster where the sample was made.
    """

    lanes: int
    actors: int
    kind: str
    cpus: int
    speed: float = 1.0

    @classmethod
    def of(cls, execution: Execution, *, cpus: int, gpus: int, speed: float = 1.0) -> "Devices":
        """Those of a cluster with so many CPUs and GPUs."""
        kind, devices = ("GPU", gpus) if execution.use_gpu or gpus else ("CPU", cpus)
        actors = execution.decode_actors or devices
        lanes = min(execution.parallel_students, devices)
        return cls(max(lanes, 1), max(actors, 1), kind, max(cpus, 1), speed)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the steps of one stage take.

    Attributes:
        what: the stage, in words.
        work: seconds of one process, or of one training run, all together.
        wall: seconds from begin to end.
        size: bytes of what is published.
        took: what work the records of a finished study tell for the same steps; None without one.
    """

    what: str
    work: float
    wall: float
    size: float
    took: float | None = None


def estimates(plan: Plan, sample: Sampled, devices: Devices, *, study: Study) -> list[Estimate]:
    """What each stage of a plan takes, by a sample; a study that is finished is compared.

    Raises:
        StageFailed: an update of a method was not measured.
    """
    steps = list(unique(plan.steps))
    made = {step.key.fingerprint: _took(study, step) for step in steps}
    return [
        _text(steps, sample),
        *_back_translations(sample, devices),
        *(_signals(steps, sample, devices, made)),
        *(_models(steps, plan, sample, devices, made)),
        *_scores(steps, plan, sample, devices),
    ]


def _text(steps: Sequence[Step], sample: Sampled) -> Estimate:
    """Corpora, tokenizers and ids grow with the pairs; all of it is made by one process."""
    stages = {step.heading: step.stage for step in steps}
    stages |= {text.translated_by: SIGNALS for text in sample.added.values()}
    of_text = {CORPUS, TOKENIZER, ENCODED}
    times = sample.all_learned() / sample.learned()
    seconds = sum(s for heading, s in sample.seconds.items() if stages.get(heading) in of_text)
    size = sum(sample.sizes.get(stage, 0) for stage in of_text)
    copies = max(1, sum(step.stage == CORPUS for step in steps))
    whole = seconds * times * copies
    return Estimate("text", whole, whole, size * times * copies)


def _back_translations(sample: Sampled, devices: Devices) -> Iterator[Estimate]:
    """By the sentences that are translated back; what is published counts as text."""
    for text in sample.added.values():
        if text.translated_by:
            times = text.all_sentences / max(text.sentences, 1)
            work = text.seconds * times / devices.speed
            yield Estimate(text.translated_by.lower(), work, work / devices.actors, 0.0)


def _signals(
    steps: Sequence[Step], sample: Sampled, devices: Devices, made: Mapping[str, float | None]
) -> Iterator[Estimate]:
    """By the sample's signal of the same name; translations by tokens, of a trained teacher."""
    work, size, took = (defaultdict[str, float](float) for _ in range(3))
    known = Counter[str]()
    for step in (step for step in steps if step.stage == SIGNALS):
        name = _plain(step)
        of_sample = sample.signals.get(name)
        if of_sample is None:
            continue
        on_references = isinstance(step.job, DistributionJob) and step.job.hypotheses is None
        every = sample.all_learned(with_reference=on_references)
        times = every / max(of_sample.get("pairs", sample.learned()), 1)
        if name == "hypotheses":
            times *= _shorter(of_sample, sample)
        work[name] += of_sample.get("seconds", 0.0) * times
        size[name] += of_sample["bytes"] * times
        if (seconds := made[step.key.fingerprint]) is not None:
            took[name] += seconds
            known[name] += 1
    of_name = Counter(_plain(step) for step in steps if step.stage == SIGNALS)
    for name, seconds in work.items():
        seconds /= devices.speed
        whole = took[name] if known[name] == of_name[name] else None
        yield Estimate(name, seconds, seconds / devices.actors, size[name], whole)


def _models(
    steps: Sequence[Step],
    plan: Plan,
    sample: Sampled,
    devices: Devices,
    made: Mapping[str, float | None],
) -> Iterator[Estimate]:
    """Updates of teachers, and of students with all that they go on from."""
    trainings = [step for step in steps if isinstance(step.job, TrainingSpec)]
    in_lane = sum(cost.updates * cost.seconds for cost in sample.costs.costs)
    in_lane += (sample.teacher_update or 0) * _sample_updates(sample)
    lanes_took = sum(
        seconds for heading, seconds in sample.seconds.items() if heading in _headings(trainings)
    )
    start = max(0.0, lanes_took - in_lane) / max(sample.models, 1)
    for stage, stages in (("teachers", {TEACHER}), ("students", {TRUNK, STUDENT})):
        own = [step for step in trainings if step.stage in stages]
        if not own:
            continue
        work = sum(_updates(step, plan, sample) / devices.speed + start for step in own)
        size = sample.sizes.get(STUDENT, 0) / max(len(sample.costs.costs), 1) * len(own)
        if stage == "teachers":
            size = float(sample.sizes.get(TEACHER, 0))
        told = [made[step.key.fingerprint] for step in own]
        took = None if None in told else sum(seconds or 0 for seconds in told)
        lanes = 1 if stage == "teachers" else devices.lanes
        yield Estimate(stage, work, work / lanes, size, took)


def _headings(trainings: Sequence[Step]) -> set[str]:
    return {step.heading for step in trainings}


def _sample_updates(sample: Sampled) -> int:
    return max((cost.updates for cost in sample.costs.costs), default=0)


def _updates(step: Step, plan: Plan, sample: Sampled) -> float:
    """Seconds of a training's own updates.

    Raises:
        StageFailed: such an update was not measured.
    """
    spec = spec_of(step)
    if step.stage == TEACHER:
        return spec.own_updates * (sample.teacher_update or 0.0)
    update = Update.of(
        spec.method,
        signals=plan.scenario(step).recipe.signals,
        model=spec.model,
        tokens_per_update=spec.training.tokens_per_update,
    )
    near = [cost for cost in sample.costs.costs if cost.update == update]
    near = near or [c for c in sample.costs.costs if c.update.method["kind"] == spec.method.kind]
    if not near:
        raise StageFailed(
            f"{step.name}: an update of {spec.method.kind} was not measured by the sample; give it "
            "more pairs with --pairs"
        )
    return spec.own_updates * sum(cost.seconds for cost in near) / len(near)


def _scores(
    steps: Sequence[Step], plan: Plan, sample: Sampled, devices: Devices
) -> Iterator[Estimate]:
    """Every model translates dev and the tests, as fast by its size as the teacher did."""
    hyps, config = sample.signals.get("hypotheses"), plan.scenarios[0].recipe.signals.hypotheses
    own = [step for step in steps if step.stage == SCORES]
    if not hyps or config is None or not own:
        return
    per_pair = hyps["seconds"] / hyps["pairs"] * _shorter(hyps, sample)
    widths = sum(c.width or 1 for c in plan.scenarios[0].recipe.evaluation.conditions)
    of_teacher = per_pair * sample.lines * widths / config.beam
    teachers = sum(step.cell is not None and step.cell.is_teacher for step in own)
    work = of_teacher * (teachers + (len(own) - teachers) * sample.smaller)
    yield Estimate("scores", work, work / devices.cpus, 0.0)


def _shorter(hyps: Mapping[str, Any], sample: Sampled) -> float:
    """How long translations of a trained teacher will be, by those in the sample, which go on."""
    if sample.teacher_update is None or not hyps.get("tokens"):
        return 1.0
    return float(min(1.0, sample.tokens_of_reference * hyps["pairs"] / hyps["tokens"]))


def _took(study: Study, step: Step) -> float | None:
    """Seconds that a step's record tells."""
    artifact = study.store.find(step.key)
    if artifact is None:
        return None
    if not isinstance(step.job, TrainingSpec):
        seconds = artifact.counts.get("seconds")
        return None if seconds is None else float(seconds)
    before = None
    if isinstance(step.job.start, AfterStage | OffTrunk):  # its record counts all up to its end
        before = study.store.find(step.job.start.before.key)
    earlier = 0.0 if before is None else before.counts["train_seconds"]
    return float(artifact.counts["train_seconds"] - earlier)


def _plain(step: Step) -> str:
    """The name of a step without its place in a grid."""
    return step.name.rsplit("/", 1)[-1]
