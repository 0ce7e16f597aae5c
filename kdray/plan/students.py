"""The students of an experiment: one for each seed, size, length and method.

Those of several stages, and those that leave a trunk, come with the models that they go on from.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from kdray.cell import Cell
from kdray.config.methods.union import BranchConfig, MethodConfig, SingleMethodConfig, StagesConfig
from kdray.config.recipe import Recipe
from kdray.config.training import TrainingConfig
from kdray.config.trunks import branching_update, follows_length, of_length
from kdray.fit.spec import AfterStage, OffTrunk, Random, Start, TeacherLayers, TrainingSpec
from kdray.methods.build import method_class
from kdray.plan.counts import Counts
from kdray.plan.signals import SignalPlan
from kdray.plan.step import STUDENT, TRUNK, Step
from kdray.plan.text import TextPlan


@dataclass(frozen=True, slots=True)
class Students:
    """Plans students, those of the recipe and those that a search makes up."""

    recipe: Recipe
    text: TextPlan
    signals: SignalPlan
    starts: Mapping[str, Random | TeacherLayers]
    counts: Counts

    def cells(self) -> Iterator[Cell]:
        """The students of the recipe, in the order of the report."""
        students = self.recipe.students
        for seed in students.seeds:
            for size in students.sizes:
                for length in sorted(students.budgets) or (None,):
                    for method in self.recipe.methods:
                        yield Cell(method, size, seed, length)

    def spec(self, cell: Cell, method: MethodConfig) -> TrainingSpec:
        """The training of a student by a method, which may not stand in the recipe.

        Raises:
            ConfigError: the method reads what no method of the recipe reads, or cannot have its
                budget.
        """
        start: Start = self.starts[cell.size]
        trainings = self.counts.trainings(cell.method, method, size=cell.size, length=cell.length)
        if isinstance(method, StagesConfig):
            return self._in_stages(cell, method, trainings, start)
        (training,) = trainings
        if isinstance(method, BranchConfig):
            start = self._off_trunk(cell, method.trunk, training, start)
            return self._single(cell, method.cooldown, training, start)
        if cell.length is not None and not follows_length(method):
            start = self._off_trunk(cell, method, training, start)
        return self._single(cell, method, training, start)

    def step(
        self, cell: Cell, spec: TrainingSpec, *, name: str, heading: str, is_goal: bool = True
    ) -> Step:
        """A student, or what one goes on from."""
        return Step(
            job=spec,
            stage=TRUNK if spec.is_trunk else STUDENT,
            name=name,
            heading=heading,
            cell=cell,
            kind=self.recipe.methods[cell.method].kind,
            is_goal=is_goal,
        )

    def steps(self) -> Iterator[Step]:
        """All trainings. First all that go on from no other, then those that go on from them."""
        chains = [list(self._chain(cell)) for cell in self.cells()]
        for wave in zip_longest(*chains):
            yield from (step for step in wave if step is not None)

    def _chain(self, cell: Cell) -> Iterator[Step]:
        student = self.spec(cell, self.recipe.methods[cell.method])
        for depth, spec in enumerate(student.chain(), start=1):
            part = f"trunk-{spec.ends_at}" if spec.is_trunk else f"stage-{depth}"
            name = str(cell) if spec is student else f"{replace(cell, length=None)}/{part}"
            heading = "Students" if depth == 1 else f"Students, part {depth}"
            is_goal = spec is student
            yield self.step(cell, spec, name=name, heading=heading, is_goal=is_goal)

    def _single(
        self,
        cell: Cell,
        method: SingleMethodConfig,
        training: TrainingConfig,
        start: Start,
        *,
        until: int | None = None,
    ) -> TrainingSpec:
        method_class(method.kind)  # a method of another package may be broken
        return TrainingSpec(
            model=self.recipe.students.sizes[cell.size].shape,
            method=method,
            training=training,
            seed=cell.seed,
            ends_at=until or training.updates,
            corpus=self.text.clean.corpus,
            tokenizer=self.text.tokenizer,
            encoded=self.text.learned.encoded,
            signals=self.signals.of(method),
            teacher=self.signals.beside(method),
            start=start,
            bleu_tokenize=self.recipe.evaluation.bleu_tokenize,
        )

    def _in_stages(
        self,
        cell: Cell,
        method: StagesConfig,
        trainings: Sequence[TrainingConfig],
        start: Start,
    ) -> TrainingSpec:
        for stage, training in zip(method.stages, trainings, strict=True):
            spec = self._single(cell, stage.method, training, start)
            start = AfterStage(spec)
        return spec

    def _off_trunk(
        self, cell: Cell, method: SingleMethodConfig, training: TrainingConfig, start: Start
    ) -> Start:
        """Where a student leaves the trunk, which is trained from one branching to the next."""
        budgets = sorted(self.recipe.students.budgets) or (training.updates,)
        lengths = [of_length(training, updates) for updates in budgets]
        last = branching_update(training)
        shortest = {branching_update(length): length for length in reversed(lengths)}
        for until in sorted(shortest):
            if until <= last:
                spec = self._single(cell, method, shortest[until], start, until=until)
                start = OffTrunk(spec)
        return start
