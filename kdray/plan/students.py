"""The students of an experiment: one for each seed, size, budget and method.

Those of several stages, and those that leave a trunk, come with the models that they go on from.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kdray.artifacts import Key
from kdray.config.budgets import branching_update, follows_length, of_length
from kdray.config.methods.union import BranchConfig, MethodConfig, SingleMethodConfig, StagesConfig
from kdray.config.model import ModelConfig
from kdray.config.recipe import Recipe
from kdray.config.training import TrainingConfig
from kdray.methods.build import method_class
from kdray.plan.initial import Inheritance
from kdray.plan.models import ModelPlan, model_key, trunk_key
from kdray.plan.signals import SignalPlan
from kdray.reporting.curves import RunName


def student_plans(
    recipe: Recipe, encoded: Key, signals: SignalPlan, inheritance: Mapping[str, Inheritance]
) -> Iterator[ModelPlan]:
    """All students, in the order of the report."""
    for seed in recipe.students.seeds:
        for size in recipe.students.sizes:
            for budget in sorted(recipe.students.budgets) or (None,):
                for name, method in recipe.methods.items():
                    yield student_plan(
                        recipe,
                        encoded,
                        signals,
                        size=size,
                        method_name=name,
                        method=method,
                        seed=seed,
                        inherits=inheritance.get(size),
                        budget=budget,
                    )


def student_plan(
    recipe: Recipe,
    encoded: Key,
    signals: SignalPlan,
    *,
    size: str,
    method_name: str,
    method: MethodConfig,
    seed: int,
    inherits: Inheritance | None,
    budget: int | None = None,
) -> ModelPlan:
    """A student with a method that may not stand in the recipe, as a search makes them."""
    model, training = recipe.students.sizes[size].shape, recipe.students.training
    student = _Student(
        encoded, signals, size, method_name, method.kind, seed, model, inherits, budget,
        recipe.evaluation.bleu_tokenize,
    )  # fmt: skip
    if budget is not None:
        training = of_length(training, budget)
    if isinstance(method, StagesConfig):
        return _in_stages(student, method, training)
    if isinstance(method, BranchConfig):
        lengths = recipe.students.lengths
        return _branch(student, method.trunk, method.cooldown, training, lengths)
    if budget is not None and not follows_length(method):
        return _branch(student, method, method, training, recipe.students.lengths)
    return student.plan(method, training)


@dataclass(frozen=True, slots=True)
class _Student:
    """What a student and all that it goes on from have in common."""

    encoded: Key
    signals: SignalPlan
    size: str
    method_name: str
    method_kind: str
    seed: int
    model: ModelConfig
    inherits: Inheritance | None
    budget: int | None
    bleu_tokenize: str

    def plan(
        self,
        method: SingleMethodConfig,
        training: TrainingConfig,
        *,
        part: str = "",
        start: ModelPlan | None = None,
        trunk: ModelPlan | None = None,
        until: int | None = None,
    ) -> ModelPlan:
        """A part of the way to the student, or without a `part` the student itself."""
        method_class(method.kind)  # a method of another package may be broken
        reads = self.signals.of(method)
        what = (self.model, method, training, self.seed, self.encoded, reads)
        first = self.inherits if start is None else None
        if until is not None:
            key = trunk_key(*what, bleu_tokenize=self.bleu_tokenize, until=until, inherits=first)
        else:
            other = trunk if trunk is not None and trunk.method != method else None
            key = model_key(
                *what,
                bleu_tokenize=self.bleu_tokenize,
                start=start.key if start else None,
                trunk=other.key if other else None,
                inherits=None if other else first,
            )
        budget = self.budget if until is None else None  # a trunk is of all lengths
        name = str(RunName(self.size, self.method_name, self.seed, budget))
        return ModelPlan(
            name=f"{name}/{part}" if part else name,
            method_name=self.method_name,
            method_kind=self.method_kind,
            size=self.size,
            seed=self.seed,
            model=self.model,
            method=method,
            training=training,
            key=key,
            signals=reads,
            start=start,
            inherits=first,
            budget=budget,
            trunk=trunk,
            until=until,
        )


def _in_stages(student: _Student, method: StagesConfig, training: TrainingConfig) -> ModelPlan:
    plan: ModelPlan | None = None
    for number, stage in enumerate(method.stages, start=1):
        length = training.of_stage(stage.updates, stage.schedule)
        part = "" if number == len(method.stages) else f"stage-{number}"
        plan = student.plan(stage.method, length, part=part, start=plan)
    assert plan is not None, "there are two stages or more"
    return plan


def _branch(
    student: _Student,
    trunk_method: SingleMethodConfig,
    method: SingleMethodConfig,
    training: TrainingConfig,
    lengths: tuple[int, ...],
) -> ModelPlan:
    """A student that leaves the trunk, which is trained from one branching update to the next."""
    trunk: ModelPlan | None = None
    last = branching_update(training)
    by_update = {branching_update(of_length(training, n)): n for n in reversed(lengths)}
    for until in sorted(by_update):
        if until <= last:
            length = of_length(training, by_update[until])
            trunk = student.plan(
                trunk_method, length, part=f"trunk-{until}", trunk=trunk, until=until
            )
    return student.plan(method, training, trunk=trunk)
