"""What a later stage cannot read is found by the first that sees it, and takes nothing with it.

The stages are as they are, but what they give to Ray is done here, one after another.
"""

import shutil
from pathlib import Path

import pytest
import yaml
from micro_study import CONFIG

from kdray.cell import TEACHER
from kdray.cluster import task
from kdray.config.experiment import Experiment
from kdray.config.model import ModelConfig
from kdray.errors import DataError, StageFailed
from kdray.model.storage import Shape, save_model, tensors
from kdray.pipeline import check_complete, run_steps, run_study
from kdray.progress import Display
from kdray.runner.make import make_steps
from kdray.runner.study import open_study

pytestmark = pytest.mark.slow

WORDS = ["ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no", "pu"]
LONG = " ".join(WORDS * 3)
TINY = {
    "updates": 4,
    "tokens_per_update": 256,
    "schedule": {"kind": "cosine", "warmup": 1},
    "checkpoint_every": 4,
    "validate_every": 4,
}


def sentences(count, shift):
    return [
        " ".join(WORDS[(n + shift + k * k) % 10] for k in range(3 + n % 4)) for n in range(count)
    ]


def write(folder, name, lines):
    for suffix, change in (("a", str), ("b", str.upper)):
        (folder / f"{name}.{suffix}").write_text("".join(f"{change(line)}\n" for line in lines))


@pytest.fixture
def recipe(tmp_path):
    """A recipe over files with two tests, one of which has a long sentence; models of 24 tokens."""
    folder = tmp_path / "text"
    folder.mkdir()
    lines = [
        f"{line} {WORDS[n // 10 % 10]} {WORDS[n % 10]}" for n, line in enumerate(sentences(90, 0))
    ]
    write(folder, "train", lines)
    write(folder, "dev", [f"{line} ba no" for line in sentences(8, 3)])
    write(folder, "good", [f"{line} hu le" for line in sentences(8, 5)])
    write(folder, "long", [*sentences(5, 1), LONG, *sentences(2, 2)])
    sides = {
        name: {"src": f"{name}.a", "tgt": f"{name}.b"} for name in ("train", "dev", "good", "long")
    }
    raw = yaml.safe_load(CONFIG)
    raw["recipe"] |= {
        "corpus": {
            "kind": "files", "folder": str(folder), "src_lang": "a", "tgt_lang": "b",
            "train": sides["train"], "dev": sides["dev"],
            "tests": {"good": sides["good"], "long": sides["long"]},
        },
        "tokenizer": {"vocab_size": 60, "model_type": "bpe"},
        "teacher": None,
        "students": {"sizes": {"nano": {"preset": "nano", "max_length": 24}}, "training": TINY},
        "methods": {"ce": {"kind": "cross_entropy"}, "smooth": {"kind": "cross_entropy",
                                                               "label_smoothing": 0.2}},
    }  # fmt: skip
    del raw["search"]
    raw["execution"] = {"storage": str(tmp_path / "storage"), "tracking": {"enabled": False}}
    return raw


def opened(raw):
    return open_study(Experiment.model_validate(raw), Display())


@pytest.mark.parametrize("verb", ["train", "study"])
def test_a_test_sentence_that_is_too_long_is_found_before_training(recipe, verb, without_ray):
    with opened(recipe) as study:
        with pytest.raises(
            DataError, match=r"test-long, line 6: \d+ tokens, more than nano/ce/seed"
        ):
            run_steps(study, verb)
        assert not (study.store.root / "model").exists()


def test_a_set_that_no_model_can_learn_from_is_found_before_training(recipe, without_ray):
    recipe["recipe"]["students"]["training"] = {**TINY, "max_tokens": 8}
    recipe["recipe"]["corpus"]["tests"].pop("long")
    text = Path(recipe["recipe"]["corpus"]["folder"])
    write(text, "train", [f"{line} {line} {line}" for line in sentences(10, 0)])
    with opened(recipe) as study:
        with pytest.raises(DataError, match=r"train: all \d+ pairs have more tokens .* allow 8"):
            run_steps(study, "train")
        assert not (study.store.root / "model").exists()


def brought(recipe, folder, *, max_length):
    """The recipe with a fresh model as its teacher, which reads so many tokens."""
    with opened(recipe) as study:
        make_steps(study, [s for s in study.plan.steps if s.stage in ("corpus", "tokenizer")][:2])
        pieces = study.store.path(study.plan.only.text.tokenizer)
    folder.mkdir()
    for file in pieces.glob("*.model"):
        (folder / file.name).write_bytes(file.read_bytes())
    from kdray.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(folder)
    config = ModelConfig(preset="nano", max_length=max_length)
    shape = Shape(config=config, src_vocab=60, tgt_vocab=60, shared=True,
                  tokenizer=tokenizer.checksum)  # fmt: skip
    save_model(folder, shape, tensors(shape.build()))
    recipe["recipe"] |= {
        "teacher": {"kind": "checkpoint", "path": str(folder)},
        "tokenizer": None,
        "signals": {"hypotheses": None, "topk": None, "online": True},
    }
    recipe["recipe"]["students"]["sizes"]["nano"]["max_length"] = 64
    return recipe


@pytest.mark.slow
def test_a_set_that_the_teacher_cannot_read_leaves_all_other_scores(recipe, tmp_path, without_ray):
    with opened(brought(recipe, tmp_path / "teacher", max_length=24)) as study:
        findings = run_study(study)
        check_complete(study)
    splits = {}
    for row in findings.results:
        splits.setdefault(row.cell.method, set()).add(row.split)
    everything = {"dev", "test-good", "test-long"}
    assert splits == {TEACHER: everything - {"test-long"}, "ce": everything, "smooth": everything}
    told = "teacher has no scores on test-long: 1 of 8 sentences, the first in line 6"
    assert told in findings.page.with_suffix(".md").read_text().replace("\\", "")


@pytest.mark.slow
def test_a_model_that_cannot_be_scored_leaves_the_others(recipe, without_ray, monkeypatch):
    (test,) = [recipe["recipe"]["corpus"]["tests"].pop("long")]
    assert test
    made_here = task.make_each

    def each(steps, **how):
        for step, failure in made_here(steps, **how):
            if step.name == "nano/ce/seed-1":
                failure = DataError(f"{step.heading}, {step.name}: the node is gone")
                shutil.rmtree(how["store"].path(step.key))
            yield step, failure

    monkeypatch.setattr(task, "make_each", each)
    with opened(recipe) as study:
        findings = run_study(study)
        with pytest.raises(StageFailed, match=r"1 students or scores failed.*\n.*node"):
            check_complete(study)
    assert {row.cell.method for row in findings.results} == {"smooth"}
    assert "the node is gone" in findings.page.with_suffix(".md").read_text()


def test_costs_of_text_are_in_the_report(recipe, tmp_path, without_ray):
    from kdray.runner.facts import _text_notes

    lines = [f"ba ª {WORDS[n]} de" for n in range(8)]  # normalisation makes an a of it
    write(tmp_path / "text", "good", lines)
    recipe["recipe"]["corpus"]["tests"].pop("long")
    with opened(recipe) as study:
        make_steps(study, [s for s in study.plan.steps if s.stage in ("corpus", "tokenizer")])
        notes = _text_notes(study)
    assert [note.split(":")[0] for note in notes] == ["test-good"]
    assert "BA ª BA DE" in notes[0]
