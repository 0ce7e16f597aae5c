"""A relative path of a configuration means the folder of the command, also in workers elsewhere."""

import os
import pickle
import subprocess
import sys

import pytest
import yaml
from micro_study import CONFIG, command

from kdray.config.experiment import Experiment
from kdray.config.model import ModelConfig
from kdray.fit.job import TrainingJob
from kdray.model.storage import WEIGHTS, Shape, save_model, tensors
from kdray.pipeline import run_steps
from kdray.plan.step import STUDENT, spec_of
from kdray.progress import Display
from kdray.runner.study import open_study

pytestmark = pytest.mark.slow

TRAIN = """
import pathlib, pickle, sys
from kdray.fit.worker import Worker
for number, job in enumerate(pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())):
    out = pathlib.Path("made") / str(number)
    out.mkdir(parents=True)
    job.publish(out, job.run(Worker(), threads=1))
"""


@pytest.fixture
def folder(tmp_path, toy_tokenizers, monkeypatch):
    """The folder of the command, with a teacher in it."""
    here = tmp_path / "here"
    teacher = here / "teacher"
    teacher.mkdir(parents=True)
    tokenizer = toy_tokenizers["joint"]
    shape = Shape(config=ModelConfig(preset="nano", encoder_layers=2), src_vocab=70, tgt_vocab=70,
                  shared=True, tokenizer=tokenizer.checksum)  # fmt: skip
    save_model(teacher, shape, tensors(shape.build()))
    tokenizer.save(teacher)
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def raw(toy_pairs, folder):
    """A study with a relative path wherever one can be given."""
    sides = {}
    for name, pairs in (("train", toy_pairs[:300]), ("dev", toy_pairs[350:370]),
                        ("test", toy_pairs[400:420])):  # fmt: skip
        for suffix, column in zip("ab", zip(*pairs, strict=True), strict=True):
            (folder / f"{name}.{suffix}").write_text("".join(f"{line}\n" for line in column))
        sides[name] = {"src": f"{name}.a", "tgt": f"{name}.b"}
    raw = yaml.safe_load(CONFIG)
    raw["recipe"] |= {
        "corpus": {"kind": "files", "folder": ".", "src_lang": "a", "tgt_lang": "b",
                   "train": sides["train"], "dev": sides["dev"], "tests": {"t": sides["test"]}},
        "teacher": {"kind": "checkpoint", "path": "teacher"},
        "signals": {"hypotheses": None, "topk": {"k": 4, "on": ["reference"]}, "online": True},
        "methods": {"ce": {"kind": "cross_entropy"}, "soft": {"kind": "token_level"},
                    "own": {"kind": "feature"}},
    }  # fmt: skip
    del raw["recipe"]["tokenizer"]
    initial = {"preset": "nano", "initial": {"kind": "layers"}}
    raw["recipe"]["students"]["sizes"] = {"cut": initial}
    space = {"label_smoothing": {"kind": "choice", "values": [0.05, 0.1]}}
    raw["search"] = {"methods": "ce", "algorithm": "grid", "stopping": "none", "retrain": None,
                     "space": space}  # fmt: skip
    raw["execution"] |= {"storage": "runs", "tracking": {"uri": "sqlite:///tracks.db"}}
    return raw


def test_students_of_a_relative_teacher_train_in_a_process_elsewhere(raw, tmp_path, without_ray):
    raw["execution"]["tracking"] = {"enabled": False}
    with open_study(Experiment.model_validate(raw), Display()) as study:
        run_steps(study, "decode")
        jobs = [
            TrainingJob(spec_of(step), study.store.work_path(step.key), study.store.fetch)
            for step in study.plan.of(STUDENT)
        ]
    assert all(job.folder.is_absolute() for job in jobs)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "jobs").write_bytes(pickle.dumps(jobs))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", TRAIN, "jobs"], cwd=elsewhere, check=False,
                          env=environment, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list(elsewhere.glob(f"made/*/{WEIGHTS}"))) == 3


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("verb", ["study", "tune"])
def test_relative_paths_are_of_the_folder_of_the_command(raw, folder, verb):
    config = folder / "study.yaml"
    config.write_text(yaml.safe_dump(raw))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command(verb, "study.yaml", "runs"), cwd=folder, env=environment,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    made = {"study": 3, "tune": 2}[verb]
    assert len(list(folder.glob(f"runs/model/*/{WEIGHTS}"))) == made
    assert {path.name for path in folder.iterdir()} >= {"runs", "tracks.db"}
