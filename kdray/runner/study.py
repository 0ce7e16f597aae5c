"""One experiment being carried out: what is to be made, where it is kept, and who is told."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from kdray.artifacts import Key, Store
from kdray.cluster.address import cluster_address
from kdray.config.experiment import Experiment
from kdray.config.recipe import Recipe
from kdray.errors import ArtifactDamaged, ConfigError, StageFailed
from kdray.plan.candidates import decoded_methods
from kdray.plan.experiment import Plan, make_plan
from kdray.plan.step import STUDENT, Step, unique
from kdray.progress import Display
from kdray.runner.runs import StudyRuns
from kdray.scoring.job import ScorerJob
from kdray.scoring.metrics import check_tokenizer
from kdray.storage.held import Held, wait_for
from kdray.teacher.scores import ScoreJob
from kdray.tracking import Tracker


@dataclass
class Study:
    """What everything that carries out a plan works with.

    `failures` says of trainings and evaluations that failed why they did, by fingerprints.
    """

    experiment: Experiment
    plan: Plan
    store: Store
    display: Display
    runs: StudyRuns
    exits: ExitStack
    failures: dict[str, StageFailed] = field(default_factory=dict)
    ray_is_up: bool = False
    needed: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """What is computed."""
        return self.experiment.recipe

    @property
    def reports(self) -> Path:
        """The folder of what a person reads."""
        return self.store.root / "reports" / self.experiment.name

    @property
    def work(self) -> Path:
        """A folder for what this study keeps while it goes on; no other command uses it."""
        return self.store.work_path(_key(self.experiment))

    def start_ray(self) -> None:
        """Bring Ray up, once, when the first step needs it."""
        if not self.ray_is_up:
            from kdray.cluster.session import node_cpus, session, where  # with Ray

            execution = self.experiment.execution
            named = where(execution)
            self.display.stage("Ray", named)
            self.exits.enter_context(session(execution))
            self.ray_is_up = True
            if cluster_address(execution) is not None and where(execution) != named:
                self.display.note(f"joined {where(execution)}")
            if self.store.remote and execution.tracking.uri is None and len(node_cpus()) > 1:
                self.display.note(
                    f"MLflow: {self.store.root} is a folder of this machine, so runs of other "
                    "nodes are not in it; name a server in execution.tracking.uri"
                )

    def is_made(self, key: Key) -> bool:
        """Whether an artifact is published and whole."""
        return self.store.find(key) is not None

    def at_rest(self) -> "Study":
        """The same while nothing is made: each artifact is looked for once."""
        return replace(self, store=self.store.at_rest())

    def verify(self) -> None:
        """Read all that is made, whatever was verified before.

        Raises:
            ArtifactDamaged: some of it is not what was written.
        """
        self.display.stage("Verification", "of all that is made")
        damaged = []
        for step in self.display.followed("artifacts", list(unique(self.plan.steps))):
            try:
                self.store.verify(step.key)
            except ArtifactDamaged as error:
                damaged.append(str(error))
        if damaged:
            raise ArtifactDamaged("\n  ".join(damaged))

    def is_lost(self, step: Step) -> bool:
        """Whether a model is missing because it failed, or something that it needs did."""
        return not self.is_made(step.key) and not self._needs(step).isdisjoint(self.failures)

    @property
    def notes(self) -> list[str]:
        """Why students or scores are missing: each failure, and which students it took with it."""
        unmade = [step for step in self.plan.of(STUDENT) if not self.is_made(step.key)]
        notes = []
        for fingerprint, failure in self.failures.items():
            lost = [step.name for step in unmade if fingerprint in self._needs(step)]
            without = f"; so there is no {', '.join(lost)}" if len(lost) > 1 else ""
            notes.append(f"{failure}{without}")
        return notes

    def _needs(self, step: Step) -> frozenset[str]:
        if not self.needed:
            self.needed = self.plan.needed()
        return self.needed[step.key.fingerprint]


def _key(experiment: Experiment) -> Key:
    """What a study is, by its name and all that it computes."""
    return Key("study", 1, {"name": experiment.name, **experiment.recipe.model_dump(mode="json")})


def _alone(experiment: Experiment, store: Store, display: Display) -> tuple[Held, bool]:
    """Wait to be the only command that makes this study: one writes its runs and its report.

    Returns:
        What is held, and whether another command was waited for.
    """
    holders: list[str] = []

    def waits(holder: str) -> None:
        holders.append(holder)
        display.note(f"waiting for {holder}: the same study in {store.location}")

    return wait_for(store.claim(_key(experiment)), waits=waits), bool(holders)


def check_scorers(plan: Plan, store: Store) -> None:
    """Refuse a scorer that has something to score and cannot be run.

    It scores translations of students and of tests, or those of the teacher to choose among them.

    Raises:
        ConfigError: its program is not there.
    """
    for step in plan.steps:
        if isinstance(step.job, ScorerJob | ScoreJob) and store.find(step.key) is None:
            step.job.check()


def _check_costs(plan: Plan, reports: Path) -> None:
    """Refuse a table of costs that the study's own report would write anew.

    Raises:
        ConfigError: the next command would work out other counts of updates, and train anew.
    """
    for scenario in plan.scenarios:
        costs = scenario.recipe.students.training.budget.costs
        if costs is not None and Path(costs).resolve().is_relative_to(reports.resolve()):
            raise ConfigError(
                f"recipe.students.training.budget.costs {costs}: this study's report writes it "
                "anew, and with it the updates of all students; copy it to another folder, or give "
                "this study another name"
            )


@contextmanager
def open_study(
    experiment: Experiment,
    display: Display,
    *,
    all_signals: bool = False,
    searches: bool = False,
    only_looks: bool = False,
) -> Iterator[Study]:
    """Check everything that can be checked before anything expensive starts, then begin.

    Of two commands that make the same study, the second waits here until the first has ended.
    What only looks waits for nobody, leaves the tracker alone, and writes nothing. A study that
    `searches` has the signals too that its search alone reads.

    Raises:
        InputError: a file, a folder, the storage, the tracker or the metric cannot be used.
    """
    also = decoded_methods(experiment.recipe, experiment.search) if searches else ()
    planned = partial(make_plan, experiment, all_signals=all_signals, also=also)
    plan = planned()
    for name in {each.recipe.evaluation.bleu_tokenize for each in plan.scenarios}:
        check_tokenizer(name)
    execution = experiment.execution
    store = Store.open(execution.storage, cache=execution.cache, only_looks=only_looks)
    _check_costs(plan, store.root / "reports" / experiment.name)
    with ExitStack() as exits:
        if only_looks:
            runs = StudyRuns(Tracker(), store.root / "untracked.json", {})
        else:
            check_scorers(plan, store)
            store.sweep()
            held, has_waited = _alone(experiment, store, display)
            exits.enter_context(held)
            if has_waited:  # what users bring may be another one now
                plan = planned()
            runs = StudyRuns.open(experiment, store)
        exits.enter_context(runs.ending())
        yield Study(experiment, plan, store, display, runs, exits)
