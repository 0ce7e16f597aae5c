"""One experiment being carried out: what is to be made, where it is kept, and who is told."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kdray.artifacts import Key, Store
from kdray.cluster.session import session
from kdray.config.experiment import Experiment
from kdray.config.recipe import Recipe
from kdray.plan import Plan, make_plan
from kdray.progress import Display
from kdray.scoring.scores import check_tokenizer
from kdray.stages.runs import Runs


@dataclass
class Study:
    """What every stage works with."""

    experiment: Experiment
    plan: Plan
    store: Store
    display: Display
    runs: Runs
    exits: ExitStack
    notes: list[str] = field(default_factory=list)  # what failed, and why; for the report
    ray_is_up: bool = False

    @property
    def recipe(self) -> Recipe:
        """What is computed."""
        return self.experiment.recipe

    def start_ray(self) -> None:
        """Bring Ray up, once, when the first stage needs it."""
        if not self.ray_is_up:
            execution = self.experiment.execution
            self.display.stage("Ray", execution.address or "local session")
            self.exits.enter_context(session(execution))
            self.ray_is_up = True

    def path(self, key: Key) -> Path:
        """Where an artifact is, or will be."""
        return self.store.path(key)

    def is_made(self, key: Key) -> bool:
        """Whether an artifact is published and whole."""
        return self.store.find(key) is not None


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
        runs = Runs.open(experiment, store) if tracked else Runs.none(store)
        exits.push(runs.close)
        yield Study(experiment, plan, store, display, runs, exits)
