"""How much of the time of a grid of many small students is spent in updates?

    python benchmarks/lanes.py [--students 12] [--lanes 2] [--workers 1] [--storage FOLDER]

The students are nano, by the methods of the demo, with as many seeds as are needed. Text,
teacher and signals are made first, and Ray's session is started; a storage that is named keeps them
for the next time, which has other seeds. Then the lanes of Ray Train are timed from their start to
their end, with MLflow. One JSON line tells of each student, and the last one of the grid:

* wall_s: seconds from the start of the lanes to their end.
* updates_s: seconds in updates, of a student or of all of them.
* beside_s: seconds that a lane has a student in hand beside its updates; of the grid, the mean over
  students that are not the first of their lane. It is looked twice a second.
* start_s: seconds of a lane until it has its first student, and those that the first one takes
  longer beside its updates than the others, since some imports are left to it.
* share: of the time of all lanes, that which was spent in updates. In the end one lane waits for
  the other, which counts for little where there are many students.
* share_of_180: the share that a grid of 180 such students would have, without that wait.
* load: of the machine over the minute before. Other work spoils the figures.

With --profile, the students are trained in this process, by one worker and without Ray. It is told
what took the time: functions, by the seconds that the thread worked in them and in their callees.
"""

import argparse
import cProfile
import json
import math
import os
import pstats
import sys
import tempfile
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from environment import restart_with_environment
from rich.console import Console

from kdray.artifacts import Store
from kdray.cluster.lane import Lane, train_in_lane
from kdray.cluster.lanes import train
from kdray.cluster.train import PlannedTraining
from kdray.command import exit_codes
from kdray.config.experiment import Experiment
from kdray.config.load import load_experiment
from kdray.fit.worker import Worker
from kdray.pipeline import run_steps
from kdray.plan.step import STUDENT
from kdray.progress import Display
from kdray.runner.models import planned_training
from kdray.runner.study import Study, open_study
from kdray.storage.queue import Queue

DEMO = Path(__file__).parents[1] / "tune_configs" / "demo.yaml"
GRID = 180  # students


def main() -> None:
    """Measure, and print the lines."""
    restart_with_environment()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--students", type=int, default=12)
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--storage", type=Path)
    parser.add_argument("--config", type=Path, default=DEMO)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with exit_codes(), tempfile.TemporaryDirectory() as folder:
        experiment = _experiment(options, options.storage or Path(folder))
        with open_study(experiment, Display(Console(stderr=True))) as study:
            run_steps(study, "decode")
            steps = study.plan.of(STUDENT)[: options.students]
            trainings = {step.name: planned_training(study, step) for step in steps}
            if options.profile:
                _profile(trainings, Path(folder))
            else:
                study.start_ray()
                _measure(study, trainings)


def _experiment(options: argparse.Namespace, storage: Path) -> Experiment:
    """The clean text of the demo and nano students, with seeds that are not in the storage yet."""
    made = len(list((storage / "model").glob("[!.]*")))
    recipe = load_experiment(options.config).recipe
    seeds = -(-options.students // len(recipe.methods))
    checkpoints = math.gcd(recipe.students.training.checkpoint_every, options.updates)
    changed = {
        "name": "lanes",
        "recipe.axes": "{}",
        "recipe.students.sizes": "{nano: {preset: nano}}",
        "recipe.students.training.tokens_per_update": 2048,
        "recipe.students.seeds": list(range(made + 1, made + 1 + seeds)),
        "recipe.students.training.updates": options.updates,
        "recipe.students.training.validate_every": options.updates,
        "recipe.students.training.checkpoint_every": checkpoints,
        "execution.storage": json.dumps(str(storage)),
        "execution.parallel_students": options.lanes,
        "execution.train_workers": options.workers,
        "execution.cpus_per_worker": 1,
    }
    return load_experiment(options.config, [f"{name}={value}" for name, value in changed.items()])


def _measure(study: Study, trainings: Mapping[str, PlannedTraining]) -> None:
    execution, load = study.experiment.execution, os.getloadavg()[0]
    lanes = min(execution.parallel_students, len(trainings))
    began = looked = time.perf_counter()
    held = dict[str, float]()  # how long a lane had each student in hand
    start = 0.0

    def watch(names: Collection[str]) -> None:
        nonlocal looked, start
        now = time.perf_counter()
        for name in names:
            held[name] = held.get(name, 0.0) + now - looked
        start += 0.0 if held else now - looked
        looked = now

    ends = train(
        trainings, execution=execution, runs=len(trainings), folder=study.work, watch=watch
    )
    updates = dict[str, float]()
    for name, failure in ends:
        if failure is not None:
            raise failure
        updates[name] = _update_seconds(study.store, trainings[name])
        seconds = {"updates_s": updates[name], "beside_s": held.get(name, 0.0) - updates[name]}
        print(json.dumps({"student": name, **_rounded(seconds)}), flush=True)
    wall, total = time.perf_counter() - began, sum(updates.values())
    beside = [held[name] - updates[name] for name in held]
    later = sum(beside[lanes:]) / max(1, len(beside) - lanes)
    start += sum(beside[:lanes]) / lanes - later
    mean = total / len(updates)
    told = {
        "students": len(updates),
        "lanes": lanes,
        "workers": execution.train_workers or 0,
        "wall_s": wall,
        "updates_s": total,
        "beside_s": later,
        "start_s": start,
        "share": total / (lanes * wall),
        f"share_of_{GRID}": mean / (mean + later + lanes * start / GRID),
        "load": load,
    }
    print(json.dumps(_rounded(told)))


def _rounded(told: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in told.items()}


def _update_seconds(store: Store, training: PlannedTraining) -> float:
    artifact = store.find(training.job.spec.key)
    assert artifact is not None, "its training has ended well"
    return float(artifact.counts["train_seconds"])


def _profile(trainings: Mapping[str, PlannedTraining], folder: Path) -> None:
    queue = Queue.new(folder / "queue", len(trainings))
    queue.admit("lane")
    lane = Lane("lane", tuple(trainings.values()), queue, 1, None)
    profile, began = cProfile.Profile(time.thread_time), time.perf_counter()
    profile.runcall(train_in_lane, lane, Worker())
    wall = time.perf_counter() - began
    store = next(iter(trainings.values())).store
    updates = sum(_update_seconds(store, each) for each in trainings.values())
    beside = (wall - updates) / len(trainings)
    print(json.dumps({"students": len(trainings), "beside_s": round(beside, 3)}))
    pstats.Stats(profile, stream=sys.stderr).sort_stats("cumulative").print_stats(
        "kdray|built-in", 100
    )


if __name__ == "__main__":
    main()
