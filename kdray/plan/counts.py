"""How many updates each method makes, so that all students have the same budget.

The unit is the baseline: it makes the updates of the training, and every other method as many as
cost the same. Only these counts reach a `TrainingSpec`, so that a student of 300 updates is the
same artifact whatever budget led to it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from pydantic import ValidationError

from kdray.config.budget import EqualTimeConfig
from kdray.config.costs import Cost, CostTable, Update, read_costs
from kdray.config.methods.union import (
    BranchConfig,
    MethodConfig,
    SingleMethodConfig,
    StagesConfig,
    single_methods,
)
from kdray.config.recipe import Recipe
from kdray.config.training import TrainingConfig
from kdray.config.trunks import branching_update, check_lengths, check_trunk, of_length
from kdray.errors import ConfigError
from kdray.storage.record import differences

PLACE = "recipe.students.training.budget"


def plan_counts(recipe: Recipe) -> "Counts":
    """The counts of a recipe; the table of costs is read if a budget names one.

    Raises:
        ConfigError: a method cannot have its budget.
    """
    path = recipe.students.training.budget.costs
    counts = Counts(recipe, None if path is None else read_costs(Path(path)))
    if not recipe.students.counts_updates:  # those of equal updates were checked with the recipe
        counts.check()
    return counts


@dataclass(frozen=True, slots=True)
class Counts:
    """The trainings that methods get. `table` holds measured costs, where a budget names some."""

    recipe: Recipe
    table: CostTable | None = None

    def trainings(
        self, name: str, method: MethodConfig, *, size: str, length: int | None = None
    ) -> tuple[TrainingConfig, ...]:
        """The training of each stage of a method; one of a method without stages.

        Args:
            name: of the method, for messages.
            method: it need not stand in the recipe: a search makes up others.
            size: of the student.
            length: updates of the baseline; None: those of the recipe.

        Raises:
            ConfigError: the table lacks a cost, or the counts are none that can be trained.
        """
        training, updates = self.recipe.students.training, length or self._length
        counts = self._counts(method, size, updates)
        try:
            if isinstance(method, StagesConfig):
                plain = of_length(training, training.updates)
                stages = zip(counts, method.stages, strict=True)
                return tuple(plain.of_stage(count, stage.schedule) for count, stage in stages)
            if isinstance(method, BranchConfig):
                check_lengths(training, counts, place="as a branch")
            return (of_length(training, counts[0]),)
        except ValueError as error:
            made = " + ".join(map(str, counts))
            raise ConfigError(
                f"{PLACE}: at {training.budget.words} methods.{name} ({size}) makes {made} updates "
                f"where {self.recipe.baseline_method} makes {updates}: {_said(error)}; or raise "
                "students.training.updates"
            ) from None

    def words(self) -> Iterator[str]:
        """The updates of all methods, where they are not the same; a line for each size."""
        students, methods = self.recipe.students, self.recipe.methods
        lines: dict[str, list[str]] = {}
        for size in students.sizes if not students.budgets else ():  # those are for all methods
            every = {n: self._counts(m, size, self._length) for n, m in methods.items()}
            if len({sum(counts) for counts in every.values()}) > 1:
                said = [f"{n} {' + '.join(map(str, counts))}" for n, counts in every.items()]
                lines.setdefault(", ".join(said), []).append(size)
        for line, sizes in lines.items():
            where = "" if len(sizes) == len(students.sizes) else f"{', '.join(sizes)}: "
            yield f"{where}updates at {students.training.budget.words}: {line}"

    def check(self) -> None:
        """Raise ConfigError if a method of the recipe cannot have its budget."""
        every = product(self.recipe.students.sizes, self.recipe.methods.items())
        for size, (name, method) in every:
            self.trainings(name, method, size=size)

    @property
    def _length(self) -> int:
        return self.recipe.students.training.updates

    def _counts(self, method: MethodConfig, size: str, length: int) -> tuple[int, ...]:
        """Updates of each stage. A length is that of the baseline."""
        if self.recipe.students.counts_updates:
            if isinstance(method, StagesConfig):
                return tuple(stage.updates for stage in method.stages)
            return (length,)
        baseline = self.recipe.methods[self.recipe.baseline_method]
        budget = self._spent(baseline, size, length)
        if isinstance(method, StagesConfig):
            return self._of_stages(method, size, budget)
        if isinstance(method, BranchConfig):
            return (self._of_branch(method, size, budget, near=length),)
        return (round(budget / self._cost(method, size)),)

    def _of_stages(self, method: StagesConfig, size: str, budget: float) -> tuple[int, ...]:
        """In the proportions of the recipe; the last stage has what is left of the budget."""
        costs = [self._cost(stage.method, size) for stage in method.stages]
        lengths = [stage.updates for stage in method.stages]
        longer = budget / _total(lengths, costs)
        before = [round(longer * length) for length in lengths[:-1]]
        return (*before, round((budget - _total(before, costs[:-1])) / costs[-1]))

    def _of_branch(self, method: BranchConfig, size: str, budget: float, *, near: int) -> int:
        """The length whose two parts cost nearest to the budget.

        A run leaves its trunk at a checkpoint, so a longer run may cost less than a shorter one:
        all lengths are tried between those that would meet the budget with no update and with
        `checkpoint_every` of them between the trunk's end and the cooldown.
        """
        training = self.recipe.students.training
        schedule = check_trunk(training, place=PLACE)
        trunk, cooldown = (self._cost(m, size) for m in (method.trunk, method.cooldown))
        mean = trunk + schedule.cooldown * (cooldown - trunk)
        around = 1 + (training.checkpoint_every + 1) * abs(cooldown - trunk) / mean
        low, high = (math.floor(budget / mean + side) for side in (-around, around))

        def distance(length: int) -> tuple[float, int]:
            spent = _spent_on_branch(training, length, trunk, cooldown)
            return abs(spent - budget), abs(length - near)

        return min(range(max(1, low), high + 2), key=distance)

    def _spent(self, method: MethodConfig, size: str, length: int) -> float:
        """What a run of some length costs; the stages of a method are its proportions."""
        if isinstance(method, StagesConfig):
            lengths = [stage.updates for stage in method.stages]
            costs = [self._cost(stage.method, size) for stage in method.stages]
            return length * _total(lengths, costs) / sum(lengths)
        if isinstance(method, BranchConfig):
            trunk, cooldown = (self._cost(m, size) for m in (method.trunk, method.cooldown))
            return _spent_on_branch(self.recipe.students.training, length, trunk, cooldown)
        return length * self._cost(method, size)

    def _cost(self, method: SingleMethodConfig, size: str) -> float:
        """What an update of a method costs: target tokens, or sequences of them, or seconds."""
        if self.table is None:
            return method.needs().sequences
        costs = self._measured(method, size)
        updates = sum(cost.updates for cost in costs)
        if not isinstance(self.recipe.students.training.budget, EqualTimeConfig):
            return sum(cost.updates * cost.target_tokens for cost in costs) / updates
        baseline, *_ = single_methods(self.recipe.methods[self.recipe.baseline_method])
        of_both = (*costs, *self._measured(baseline, size))
        if len(machines := {cost.machine for cost in of_both}) > 1:
            said = " and ".join(sorted(map(str, machines)))
            raise ConfigError(
                f"{PLACE}: the costs were measured on {said}, and their seconds cannot be "
                "compared; train the study that they are of on one machine"
            )
        return sum(cost.updates * cost.seconds for cost in costs) / updates

    def _measured(self, method: SingleMethodConfig, size: str) -> Sequence[Cost]:
        """The rows of the table for a method; more than one if it ran on several machines."""
        assert self.table is not None, "asked only where there is one"
        recipe = self.recipe
        training = recipe.students.training
        update = Update.of(
            method,
            signals=recipe.signals,
            model=recipe.students.sizes[size],
            tokens_per_update=training.tokens_per_update,
        )
        costs = self.table.of(update)
        if not costs:
            raise ConfigError(
                f"{PLACE}.costs: {training.budget.costs} has no cost of {method.kind} with the "
                f"size {size} ({_nearest(self.table, update)}); train a short study of these "
                "methods and sizes, and give the costs.json of its report"
            )
        return costs


def _total(lengths: Sequence[int], costs: Sequence[float]) -> float:
    return sum(length * cost for length, cost in zip(lengths, costs, strict=True))


def _spent_on_branch(training: TrainingConfig, length: int, trunk: float, cooldown: float) -> float:
    """What a run costs whose updates have one cost on its trunk and another one after it."""
    shared = branching_update(training, length)
    return shared * trunk + (length - shared) * cooldown


def _said(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    place = "".join(f"{part}: " for part in first["loc"])
    return f"{place}{first['msg'].removeprefix('Value error, ')}"


def _nearest(table: CostTable, update: Update) -> str:
    """How that update of the same kind differs which the table has and which differs least."""
    wanted, kind = update.model_dump(mode="json"), update.method["kind"]
    there = [cost.update for cost in table.costs if cost.update.method.get("kind") == kind]
    changes = [differences(each.model_dump(mode="json"), wanted) for each in there]
    if not changes:
        return "it has none of this kind"
    fewest = min(changes, key=len)
    return "; ".join(fewest)
