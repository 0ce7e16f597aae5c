"""What a process does that has packages beside kdray: `outside_process.py VERB CONFIG [...]`.

`refuse CONFIG OVERRIDES`: loads and plans with each override. -> the messages, "" for none.
`train CONFIG JOB`: plans the config and trains the job with its method `toy`. -> what came of it.
"""

import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path

from kdray.config.load import load_experiment
from kdray.errors import ConfigError
from kdray.fit.history import HISTORY, read_history
from kdray.fit.job import METHOD_CONFIG
from kdray.fit.worker import Worker
from kdray.plan.experiment import make_plan
from kdray.plan.step import STUDENT


def refuse(config, overrides):
    messages = []
    for each in json.loads(overrides):
        try:
            make_plan(load_experiment(Path(config), [each]))
            messages.append("")
        except ConfigError as error:
            messages.append(str(error))
    return messages


def train(config, job):
    experiment = load_experiment(Path(config))
    (student,) = (s for s in make_plan(experiment).of(STUDENT) if s.cell.method == "toy")
    job = pickle.loads(Path(job).read_bytes())
    job = replace(job, spec=replace(job.spec, method=experiment.recipe.methods["toy"]))
    progress = job.run(Worker(), threads=1)
    published = job.folder / "published"
    published.mkdir()
    job.publish(published, progress)
    return {
        "fingerprint": student.key.fingerprint,
        "step": progress.step,
        "method": json.loads((published / METHOD_CONFIG).read_text()),
        "losses": [row for row in read_history(job.folder / HISTORY) if "train/loss" in row],
    }


if __name__ == "__main__":
    _, verb, *arguments = sys.argv
    print(json.dumps({"refuse": refuse, "train": train}[verb](*arguments)))
