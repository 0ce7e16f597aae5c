"""What updates cost in a study, by its students' records: the table that a later budget reads."""

from collections.abc import Iterator
from importlib.metadata import version

import kdray
from kdray.artifacts import read_json
from kdray.config.costs import Cost, CostTable, Machine, Update
from kdray.fit.job import MACHINE
from kdray.fit.spec import AfterStage, OffTrunk, TrainingSpec
from kdray.plan.step import STUDENT, spec_of
from kdray.runner.study import Study

COSTS = "costs.json"
UNKNOWN = {"device": "unknown"}
"""What the records of early versions do not say."""


def costs_of(study: Study) -> CostTable:
    """A row for all that has the same update on the same machine: means over seeds and points."""
    rows: list[Cost] = []
    for cost in _costs(study):
        place = next((i for i, row in enumerate(rows) if _is_same(row, cost)), None)
        if place is None:
            rows.append(cost)
        else:
            rows[place] = _together(rows[place], cost)
    versions = {"kdray": kdray.__version__, "torch": version("torch")}
    return CostTable(versions=versions, costs=tuple(rows))


def _costs(study: Study) -> Iterator[Cost]:
    """What each training took for the updates of its own method."""
    seen: set[str] = set()
    for step in study.plan.of(STUDENT):
        signals = study.plan.scenario(step).recipe.signals
        for spec in _parts(spec_of(step)):
            fingerprint = spec.key.fingerprint
            taken = None if fingerprint in seen else _taken(study, spec)
            seen.add(fingerprint)
            if taken is None or min(taken) <= 0:  # a clock that counts tenths may see none
                continue
            updates, tokens, seconds = taken
            machine = UNKNOWN | read_json(study.store.fetch(spec.key) / MACHINE)
            yield Cost(
                update=Update.of(
                    spec.method,
                    signals=signals,
                    model=spec.model,
                    tokens_per_update=spec.training.tokens_per_update,
                ),
                machine=Machine.model_validate({k: machine[k] for k in Machine.model_fields}),
                updates=int(updates),
                target_tokens=tokens / updates,
                seconds=seconds / updates,
            )


def _parts(student: TrainingSpec) -> Iterator[TrainingSpec]:
    """The trainings of a student, last first, but those that are the beginning of the next one."""
    part: TrainingSpec | None = student
    while part is not None:
        yield part
        part = _before(part)


def _before(spec: TrainingSpec) -> TrainingSpec | None:
    """The training by another method, or the stage, that one goes on from."""
    start = spec.start
    while isinstance(start, OffTrunk) and start.before.method == spec.method:
        start = start.before.start
    return start.before if isinstance(start, OffTrunk | AfterStage) else None


def _taken(study: Study, spec: TrainingSpec) -> tuple[float, float, float] | None:
    """Updates, target tokens and seconds of a training alone; None where they are not known.

    A record counts all that was trained up to its end.
    """
    before, artifact = _before(spec), study.store.find(spec.key)
    earlier = None if before is None else study.store.find(before.key)
    if artifact is None or (before is not None and earlier is None):
        return None
    names = ("updates", "target_tokens", "train_seconds")
    own = [artifact.counts[name] - (earlier.counts[name] if earlier else 0) for name in names]
    updates, tokens, seconds = own
    return updates, tokens, seconds


def _is_same(row: Cost, cost: Cost) -> bool:
    return (row.update, row.machine) == (cost.update, cost.machine)


def _together(row: Cost, cost: Cost) -> Cost:
    updates = row.updates + cost.updates

    def mean(one: float, other: float) -> float:
        return (row.updates * one + cost.updates * other) / updates

    return Cost(
        update=row.update,
        machine=row.machine,
        updates=updates,
        target_tokens=mean(row.target_tokens, cost.target_tokens),
        seconds=mean(row.seconds, cost.seconds),
    )
