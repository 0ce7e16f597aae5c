"""A study with students of every kind, whose lanes run in a process of their own without Ray."""

import gc
import sys
from pathlib import Path

import yaml
from micro_study import CONFIG
from test_all_methods import METHODS, SIGNALS, STAGES

from kdray.cluster.lane import Lane, train_in_lane
from kdray.config.experiment import Experiment
from kdray.fit.objective import Objective
from kdray.fit.worker import Worker
from kdray.model.transformer import Transformer
from kdray.plan.step import STUDENT, unique
from kdray.progress import Display
from kdray.runner.models import planned_training
from kdray.runner.study import open_study
from kdray.storage.queue import Queue

TRAINING = {
    "updates": 6,
    "tokens_per_update": 512,
    "schedule": {"kind": "constant_cooldown", "peak": 0.01, "warmup": 2},
    "checkpoint_every": 3,
    "validate_every": 3,
    "averaging": {"kind": "ema", "decay": 0.5},
}


def study(storage: Path):
    """Every method, one in stages, and runs of two lengths that share a trunk."""
    raw = yaml.safe_load(CONFIG)
    raw["recipe"]["signals"] |= SIGNALS
    raw["recipe"]["methods"] = {kind: {"kind": kind, **rest} for kind, rest in METHODS.items()}
    raw["recipe"]["methods"]["stages"] = STAGES
    raw["recipe"]["students"] |= {"training": TRAINING}
    raw["execution"] = {"storage": str(storage), "tracking": {"enabled": False}}
    del raw["search"]
    return open_study(Experiment.model_validate(raw), Display())


def train_all(storage: Path, *, backwards: bool) -> None:
    """Train all students in one lane for each part of the plan, in the plan's order or back."""
    with study(storage) as opened:
        steps = [step for step in unique(opened.plan.steps) if step.stage == STUDENT]
        for heading in dict.fromkeys(step.heading for step in steps):
            together = [step for step in steps if step.heading == heading]
            if backwards:
                together.reverse()
            queue = Queue.new(storage / "queue" / heading, len(together))
            queue.admit("lane")
            trainings = tuple(planned_training(opened, step) for step in together)
            train_in_lane(Lane("lane", trainings, queue, 1, None), Worker())
            assert queue.ended() == dict.fromkeys(range(len(together)))
            alive = [each for each in gc.get_objects() if isinstance(each, Transformer | Objective)]
            assert alive == [], "the memory of a finished student is given back"


if __name__ == "__main__":
    train_all(Path(sys.argv[1]), backwards=sys.argv[2] == "backwards")
