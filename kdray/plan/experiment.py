"""The plan of an experiment: everything that it makes, in order, before any of it is made.

A fingerprint depends on a step's slice of the recipe and on the fingerprints of what it reads,
back to the checksums of the files that were given. So a dry run can tell what is cached, and every
step knows where its inputs will be. Scenarios that have a step in common make it once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kdray.cell import shown
from kdray.config.experiment import Experiment
from kdray.config.grid import points_of
from kdray.config.methods.union import MethodConfig
from kdray.fit.spec import TrainingSpec
from kdray.plan.scenario import Scenario, plan_scenario
from kdray.plan.step import STUDENT, Step, spec_of, unique


@dataclass(frozen=True, slots=True)
class Plan:
    """All scenarios of an experiment, which is one without axes, and all steps in order."""

    scenarios: tuple[Scenario, ...]
    steps: tuple[Step, ...]

    def of(self, stage: str) -> tuple[Step, ...]:
        """The steps of a stage that are wanted for themselves."""
        return tuple(step for step in self.steps if step.stage == stage and step.is_goal)

    @property
    def only(self) -> Scenario:
        """The one of an experiment without axes."""
        (scenario,) = self.scenarios
        return scenario

    def scenario(self, step: Step) -> Scenario:
        """The one that a model belongs to."""
        assert step.cell is not None, "every model has one"
        return next(each for each in self.scenarios if each.point == step.cell.point)

    def with_models(self, steps: Iterable[Step]) -> "Plan":
        """The same with models that its scenario does not plan; steps of one heading together."""
        return Plan(self.scenarios, tuple(_side_by_side([self.steps, list(steps)])))

    def summary(self) -> str:
        """How large the grid is, and how much its points have in common, in words."""
        every = [step for step in self.steps if isinstance(step.job, TrainingSpec)]
        students = len(self.of(STUDENT))
        trained, steps = len(list(unique(every))), len(list(unique(self.steps)))
        return (
            f"{len(self.scenarios)} points with {students} students: {trained} trainings, "
            f"teachers and trunks among them, where {len(every)} would be without sharing; "
            f"{steps} steps for {len(self.steps)}"
        )

    def notes(self) -> list[str]:
        """What should be known before anything is trained, in words."""
        recipe = self.scenarios[0].recipe
        notes = self.updates()
        if len(self.scenarios) > 1:
            notes.append(self.summary())
        if len(recipe.methods) > 1 and len(recipe.students.seeds) == 1:
            notes.append(
                "students.seeds holds one seed: how much seeds differ stays unknown, so no "
                "difference between methods can be a finding; give two at least, better three"
            )
        return notes

    def updates(self) -> list[str]:
        """How many updates methods make, where they differ, in words."""
        where: dict[str, list[str]] = {}
        for scenario in self.scenarios:
            for line in scenario.students.counts.words():
                where.setdefault(line, []).append(shown(scenario.point))
        of_all = len(self.scenarios)
        return [
            line if len(at) == of_all else f"{'; '.join(at)}: {line}" for line, at in where.items()
        ]

    def needed(self) -> dict[str, frozenset[str]]:
        """Of each fingerprint those of all that it is made of, and itself."""
        needed: dict[str, frozenset[str]] = {}
        for step in unique(self.steps):
            before = (needed[key.fingerprint] for key in step.reads)
            needed[step.key.fingerprint] = frozenset({step.key.fingerprint}).union(*before)
        return needed


def make_plan(
    experiment: Experiment, *, all_signals: bool = False, also: Sequence[MethodConfig] = ()
) -> Plan:
    """Work out all steps. Reads the given files, to check and to fingerprint them.

    Signals that no method needs are left out, unless all are asked for. Those of other methods, as
    a search makes up, are made if these are given.

    Raises:
        DataError: a corpus file or a brought teacher cannot be read.
        ConfigError: a method cannot have its budget, vocabularies that have to be one are not,
            more entries are to be kept than the vocabulary has, students cannot start from the
            teacher, or nobody has a scorer; with axes, at any point.
    """
    scenarios = tuple(
        plan_scenario(point, recipe, experiment.exports, all_signals=all_signals, also=also)
        for point, recipe in points_of(experiment.recipe).items()
    )
    steps = tuple(_side_by_side([scenario.steps for scenario in scenarios]))
    _check_order(steps)
    return Plan(scenarios, steps)


def _check_order(steps: Sequence[Step]) -> None:
    """A step that reads what no step before it makes would be left out without a word."""
    made: set[str] = set()
    for step in steps:
        unmade = [key.stage for key in step.reads if key.fingerprint not in made]
        assert not unmade, f"{step.name} reads {unmade}, which no step before it makes"
        made.add(step.key.fingerprint)


def _side_by_side(parts: Sequence[Sequence[Step]]) -> Iterable[Step]:
    """The steps of several scenarios in one order: those under one heading stand together."""
    headings: list[str] = []
    for steps in parts:
        place = 0
        for heading in dict.fromkeys(step.heading for step in steps):
            if heading not in headings:
                headings.insert(place, heading)
            place = headings.index(heading) + 1
    order = {heading: place for place, heading in enumerate(headings)}
    every = [step for steps in parts for step in steps]
    return sorted(every, key=lambda step: order[step.heading])  # stable


def trained_updates(students: Sequence[Step]) -> tuple[int, int]:
    """Updates that are made for students of several lengths, and the sum of their lengths."""
    finals = {step.key.fingerprint: spec_of(step) for step in students}
    parts = {s.key.fingerprint: s for final in finals.values() for s in final.chain()}
    made = sum(spec.own_updates for spec in parts.values())
    return made, sum(spec.training.updates for spec in finals.values())
