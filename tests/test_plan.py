"""The plan of an experiment: what depends on what, and vocabularies that have to be one."""

from pathlib import Path

import pytest
import yaml
from micro_study import CONFIG

from kdray.config.experiment import Experiment
from kdray.config.model import ModelConfig
from kdray.errors import ConfigError, DataError
from kdray.model.storage import WEIGHTS, Shape, save_model, tensors
from kdray.plan.experiment import make_plan
from kdray.plan.step import STUDENT, TEACHER, spec_of
from kdray.text.tokenizer import Tokenizer


def experiment(**recipe):
    raw = yaml.safe_load(CONFIG)
    del raw["search"]
    raw["recipe"] |= recipe
    return Experiment.model_validate(raw)


def students(**recipe):
    """The trainings of the students of a changed micro study."""
    return [spec_of(step) for step in make_plan(experiment(**recipe)).of(STUDENT)]


@pytest.fixture
def bring(tmp_path, toy_tokenizers):
    """Store a fresh model with a tokenizer. -> its folder."""

    def store(name: str, tokenizer: Tokenizer) -> Path:
        shape = Shape(
            config=ModelConfig(preset="nano"),
            src_vocab=tokenizer.src_vocab,
            tgt_vocab=tokenizer.tgt_vocab,
            shared=tokenizer.joint,
            tokenizer=tokenizer.checksum,
        )
        folder = tmp_path / name
        folder.mkdir()
        save_model(folder, shape, tensors(shape.build()))
        tokenizer.save(folder)
        return folder

    return store


def teacher(path):
    return {"kind": "checkpoint", "path": str(path)}


def test_a_brought_teacher_shares_its_vocabulary_with_word_level_students(bring, toy_tokenizers):
    folder = bring("one", toy_tokenizers["joint"])
    shared = make_plan(experiment(teacher=teacher(folder), tokenizer=None))
    assert shared.text.tokenizer.path == folder
    assert shared.text.encoded == shared.text.teacher_encoded
    with pytest.raises(ConfigError, match=r"methods\.hybrid \(hybrid\).*vocabulary of their own"):
        make_plan(experiment(teacher=teacher(folder)))


def test_sentence_level_students_may_have_a_vocabulary_of_their_own(bring, toy_tokenizers):
    folder = bring("one", toy_tokenizers["joint"])
    methods = {"s": {"kind": "sentence_level"}}
    plan = make_plan(experiment(teacher=teacher(folder), methods=methods))
    assert plan.text.encoded != plan.text.teacher_encoded
    (student,) = plan.of(STUDENT)
    assert spec_of(student).signals.hypotheses.stage == "recoded"


def test_a_brought_teacher_without_its_weights_is_refused(bring, toy_tokenizers):
    folder = bring("one", toy_tokenizers["joint"])
    (folder / WEIGHTS).unlink()
    with pytest.raises(DataError, match=rf"one/{WEIGHTS}: No such file"):
        make_plan(experiment(teacher=teacher(folder), tokenizer=None))


@pytest.mark.parametrize("metric", ["bleu", "loss"])
def test_how_bleu_is_taken_makes_another_model_where_it_chooses_the_checkpoint(metric):
    def model(tokenize):
        config = experiment(evaluation={"bleu_tokenize": tokenize}).model_dump(mode="json")
        training = config["recipe"]["students"]["training"]
        training |= {
            "averaging": {"kind": "none"},
            "early_stopping": {"metric": metric, "patience": 2},
        }
        return make_plan(Experiment.model_validate(config)).of(STUDENT)[0]

    assert (model("13a").key != model("char").key) == (metric == "bleu")


def test_an_ensemble_of_different_vocabularies_names_both(bring, toy_tokenizers):
    one, two = (bring(name, toy_tokenizers[name]) for name in ("joint", "separate"))
    members = {"kind": "ensemble", "members": [teacher(one), teacher(two)]}
    hybrid = {"hybrid": {"kind": "hybrid"}}
    with pytest.raises(ConfigError) as caught:
        make_plan(experiment(teacher=members, tokenizer=None, methods=hybrid))
    for word in (str(one), str(two), "different vocabularies"):
        assert word in str(caught.value)


def test_more_entries_than_the_vocabulary_has_are_refused():
    with pytest.raises(ConfigError, match=r"topk\.k 111 is more than the vocabulary of 110"):
        make_plan(experiment(signals={"topk": {"k": 111}, "online": True}))


def test_a_loss_weight_reaches_only_the_students():
    soft = {"kind": "token_level", "alpha": 0.5}
    one = make_plan(experiment(methods={"soft": soft}))
    other = make_plan(experiment(methods={"soft": {**soft, "alpha": 0.7}}))
    differing = {a.stage for a, b in zip(one.steps, other.steps, strict=True) if a.key != b.key}
    assert differing == {STUDENT, "scores"}
    assert one.of(TEACHER) == other.of(TEACHER)


def test_methods_with_the_same_first_stage_share_it():
    def stages(last):
        first = {"method": {"kind": "cross_entropy"}, "updates": 20}
        return {"kind": "stages", "stages": [first, {"method": last, "updates": 10}]}

    methods = {
        "a": stages({"kind": "sentence_level"}),
        "b": stages({"kind": "token_level"}),
    }
    a, b = students(methods=methods)
    assert a.start.before.key == b.start.before.key
    assert a.key != b.key


def test_a_name_of_a_preset_is_no_part_of_a_model():
    named = students()[0]
    raw = yaml.safe_load(CONFIG)["recipe"]["students"]
    raw["sizes"] = {"nano": {**ModelConfig(preset="nano").model_dump(), "preset": "tiny"}}
    assert students(students=raw)[0].key == named.key
