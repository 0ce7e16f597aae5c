"""One experiment being carried out: what is to be made, where it is kept, and who is told."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kdray.artifacts import Artifact, Key, Store
from kdray.cluster.session import cluster_address, session, where
from kdray.config.experiment import Experiment
from kdray.config.recipe import Recipe
from kdray.errors import StageFailed
from kdray.plan.experiment import Plan, make_plan
from kdray.plan.step import STUDENT, Step, spec_of
from kdray.progress import Display
from kdray.runner.runs import Runs
from kdray.scoring.metrics import check_tokenizer
from kdray.tracking import Tracker


@dataclass
class Study:
    """What everything that carries out a plan works with.

    `failures` says of trainings that failed why they did, by their fingerprints.
    """

    experiment: Experiment
    plan: Plan
    store: Store
    display: Display
    runs: Runs
    exits: ExitStack
    failures: dict[str, StageFailed] = field(default_factory=dict)
    ray_is_up: bool = False

    @property
    def recipe(self) -> Recipe:
        """What is computed."""
        return self.experiment.recipe

    @property
    def reports(self) -> Path:
        """The folder of what a person reads."""
        return self.store.root / "reports" / self.experiment.name

    def start_ray(self) -> None:
        """Bring Ray up, once, when the first step needs it."""
        if not self.ray_is_up:
            execution = self.experiment.execution
            named = where(execution)
            self.display.stage("Ray", named)
            self.exits.enter_context(session(execution))
            self.ray_is_up = True
            if cluster_address(execution) is not None and where(execution) != named:
                self.display.note(f"joined {where(execution)}")

    def find(self, key: Key) -> Artifact | None:
        """The published artifact, if it is there."""
        return self.store.find(key)

    def is_made(self, key: Key) -> bool:
        """Whether an artifact is published and whole."""
        return self.store.find(key) is not None

    def is_lost(self, step: Step) -> bool:
        """Whether a student is missing because it failed, or what it goes on from did."""
        chain = {spec.key.fingerprint for spec in spec_of(step).chain()}
        return not self.is_made(step.key) and not chain.isdisjoint(self.failures)

    @property
    def notes(self) -> list[str]:
        """Why students are missing: each failure, and which students it took with it."""
        unmade = [step for step in self.plan.of(STUDENT) if not self.is_made(step.key)]
        notes = []
        for fingerprint, failure in self.failures.items():
            lost = [step.name for step in unmade if fingerprint in _chain(step)]
            without = f"; so there is no {', '.join(lost)}" if len(lost) > 1 else ""
            notes.append(f"{failure}{without}")
        return notes


def _chain(step: Step) -> set[str]:
    return {spec.key.fingerprint for spec in spec_of(step).chain()}


@contextmanager
def open_study(
    experiment: Experiment, display: Display, *, all_signals: bool = False, tracked: bool = True
) -> Iterator[Study]:
    """Check everything that can be checked before anything expensive starts, then begin.

    What only looks leaves the tracker alone (`tracked` is false).

    Raises:
        InputError: a file, a folder, the storage, the tracker or the metric cannot be used.
    """
    check_tokenizer(experiment.recipe.evaluation.bleu_tokenize)
    plan = make_plan(experiment, all_signals=all_signals)
    store = Store.open(experiment.execution.storage)
    with ExitStack() as exits:
        runs = (
            Runs.open(experiment, store)
            if tracked
            else Runs(Tracker(), store.root / "untracked.json", {})
        )
        exits.push(runs.close)
        yield Study(experiment, plan, store, display, runs, exits)
