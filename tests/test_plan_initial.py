"""What students that start from the teacher depend on, and teachers that cannot be cut down."""

import pytest
import yaml
from micro_study import CONFIG

from kdray.config.experiment import Experiment
from kdray.config.model import ModelConfig
from kdray.errors import ConfigError, DataError
from kdray.fit.spec import Random, TeacherLayers
from kdray.model import inherit
from kdray.model.storage import Shape, save_model, tensors
from kdray.plan.experiment import make_plan
from kdray.plan.step import STUDENT, TEACHER, spec_of

METHODS = {"ce": {"kind": "cross_entropy"}}
DEEP = {"preset": "nano", "encoder_layers": 4, "decoder_layers": 2}
SHALLOW = {"preset": "nano", "encoder_layers": 2}
NARROW = {"preset": "nano", "width": 24, "feedforward": 48}


def experiment(sizes, *, teacher=None, tokenizer=True, **recipe):
    """The micro study with a deeper teacher, and students of these sizes."""
    raw = yaml.safe_load(CONFIG)
    del raw["search"]
    raw["recipe"]["teacher"]["model"] = DEEP
    if teacher is not None:
        raw["recipe"]["teacher"] = teacher
    if not tokenizer:
        del raw["recipe"]["tokenizer"]
    raw["recipe"]["students"]["sizes"] = sizes
    raw["recipe"] |= {"methods": METHODS, **recipe}
    return Experiment.model_validate(raw)


def size(shape, kind=None, **layers):
    return shape if kind is None else {**shape, "initial": {"kind": kind, **layers}}


def students(plan):
    """The trainings of its students."""
    return [spec_of(step) for step in plan.of(STUDENT)]


def keys(sizes, **changes):
    """Fingerprint of the one student of each size."""
    plan = make_plan(experiment(sizes, **changes))
    return {step.cell.size: step.key.fingerprint for step in plan.of(STUDENT)}


def test_each_start_is_another_student():
    found = keys({
        "random": size(SHALLOW), "layers": size(SHALLOW, "layers"),
        "last": size(SHALLOW, "layers", encoder=[2, 3]), "pruned": size(NARROW, "prune"),
    })  # fmt: skip
    assert len(set(found.values())) == 4


def test_a_random_start_is_no_part_of_a_fingerprint():
    told = keys({"a": size(SHALLOW, "random"), "b": size(SHALLOW)})
    assert told["a"] == told["b"]
    plan = make_plan(experiment({"a": size(SHALLOW, "random")}))
    (student,) = students(plan)
    assert student.key.recipe.keys() == {"model", "method", "training", "seed"}
    assert "initial" not in student.key.recipe["model"]
    assert student.key.inputs == {"encoded": plan.only.text.learned.encoded.fingerprint}
    assert type(student.model) is ModelConfig
    assert student.start == Random()


def test_a_random_start_needs_no_teacher():
    beside_one = keys({"a": size(SHALLOW)})
    raw = experiment({"a": size(SHALLOW)}).model_dump(mode="json")
    raw["recipe"]["teacher"] = None
    (student,) = students(make_plan(Experiment.model_validate(raw)))
    assert student.key.fingerprint == beside_one["a"]


def test_the_same_layers_are_the_same_student_however_they_were_chosen():
    found = keys({
        "spaced": size(SHALLOW, "layers"), "named": size(SHALLOW, "layers", encoder=[0, 3]),
        "pruned": size(SHALLOW, "prune"),  # to the teacher's widths, so nothing is pruned
    })  # fmt: skip
    assert len(set(found.values())) == 1


def test_another_teacher_makes_other_students_of_those_that_start_from_it_alone():
    sizes = {"random": size(NARROW), "pruned": size(NARROW, "prune")}
    one = keys(sizes)
    teacher = yaml.safe_load(CONFIG)["recipe"]["teacher"] | {"model": DEEP, "seed": 7}
    other = keys(sizes, teacher=teacher)
    assert one["random"] == other["random"]
    assert one["pruned"] != other["pruned"]


def test_the_fingerprint_holds_the_teacher_the_layers_and_the_version(monkeypatch):
    plan = make_plan(experiment({"a": size(NARROW, "prune")}))
    (student,) = students(plan)
    assert student.key.inputs["initial"] == plan.of(TEACHER)[0].key.fingerprint
    assert student.key.recipe["initial"] == {"encoder": [0], "decoder": [0], "version": 1}
    monkeypatch.setattr(inherit, "VERSION", 2)
    again = make_plan(experiment({"a": size(NARROW, "prune")}))
    assert again.of(STUDENT)[0].key != plan.of(STUDENT)[0].key
    assert again.of(TEACHER) == plan.of(TEACHER)


def test_only_the_first_stage_starts_from_the_teacher():
    def stages(last):
        first = {"method": {"kind": "cross_entropy"}, "updates": 20}
        return {"kind": "stages", "stages": [first, {"method": last, "updates": 10}]}

    methods = {"a": stages({"kind": "sentence_level"}), "b": stages({"kind": "token_level"})}
    a, b = students(make_plan(experiment({"a": size(NARROW, "prune")}, methods=methods)))
    assert "initial" not in a.key.inputs
    assert "initial" not in a.key.recipe
    assert isinstance(a.start.before.start, TeacherLayers)
    assert a.start.before.key == b.start.before.key


@pytest.fixture
def bring(tmp_path, toy_tokenizers):
    """Store a fresh model of a shape. -> its config as a teacher."""

    def store(shape, **change) -> dict[str, str]:
        tokenizer = toy_tokenizers["joint"]
        fields = {
            "src_vocab": tokenizer.src_vocab,
            "tgt_vocab": tokenizer.tgt_vocab,
            "shared": tokenizer.joint,
            "tokenizer": tokenizer.checksum,
        }
        described = Shape(config=ModelConfig.model_validate(shape), **fields | change)
        folder = tmp_path / "brought"
        folder.mkdir()
        save_model(folder, described, tensors(described.build()))
        tokenizer.save(folder)
        return {"kind": "checkpoint", "path": str(folder)}

    return store


@pytest.mark.slow
def test_students_start_from_a_brought_teacher(bring):
    teacher = bring(DEEP)
    plan = make_plan(experiment({"a": size(SHALLOW, "layers")}, teacher=teacher, tokenizer=False))
    (student,) = students(plan)
    assert student.start.layers.encoder == (0, 3)
    assert (student.key.inputs["initial"],) == plan.only.teacher.fingerprints


@pytest.mark.parametrize(
    ("wrong", "parts"),
    [
        (size(NARROW, "layers"), ["width is 24 and the teacher's 32: it must have as many",
                                  "feedforward is 48 and the teacher's 64"]),
        (size({"preset": "tiny", "heads": 2}, "prune"),
         ["width is 64 and the teacher's 32: it cannot have more"]),
        (size({"preset": "nano", "heads": 4}, "prune"), ["heads is 4 and the teacher's 2"]),
        (size(SHALLOW, "layers", encoder=[0, 9]), ["initial.encoder names layer 9", "0 to 3"]),
    ],
)  # fmt: skip
def test_a_brought_teacher_of_a_shape_that_does_not_fit_is_refused(bring, wrong, parts):
    teacher = bring(DEEP)
    with pytest.raises(ConfigError) as caught:
        make_plan(experiment({"ok": NARROW, "bad": wrong}, teacher=teacher, tokenizer=False))
    message = str(caught.value)
    assert message.startswith("recipe.students.sizes.bad: ")
    assert all(part in message for part in parts), message


@pytest.mark.slow
def test_embeddings_that_are_not_shared_as_those_of_the_tokenizer_are_refused(bring):
    recipe = {"teacher": bring(DEEP, shared=False), "tokenizer": False}
    with pytest.raises(ConfigError) as caught:
        make_plan(experiment({"a": size(SHALLOW, "layers")}, **recipe))
    for part in ("70 source and 70 target entries", "70 entries for both sides", "initial random"):
        assert part in str(caught.value)
    assert make_plan(experiment({"a": SHALLOW}, **recipe)) is not None


def test_a_vocabulary_that_is_not_the_tokenizers_is_refused_for_all_students(bring):
    recipe = {"teacher": bring(DEEP, src_vocab=80, tgt_vocab=80), "tokenizer": False}
    with pytest.raises(DataError, match="80 source and 80 target pieces, its tokenizer 70 and 70"):
        make_plan(experiment({"a": SHALLOW}, **recipe))
