"""A study of several axes: one recipe for each point, and everything in common is made once."""

import itertools

import pytest
import yaml
from micro_study import CONFIG

from kdray.config.experiment import Experiment
from kdray.config.grid import points_of
from kdray.config.load import load_experiment
from kdray.errors import ConfigError
from kdray.plan.experiment import make_plan
from kdray.plan.step import CORPUS, SCORES, STUDENT, TEACHER, unique

AMBIGUITY = {"path": "corpus.grammar.ambiguity", "values": [0, 0.2, 0.4]}
K = {"path": "signals.topk.k", "values": [4, 8]}
SIZES = {
    "points": {
        "short": {"students.training.updates": 20, "tokenizer.vocab_size": 100},
        "long": {"students.training.updates": 30},
    }
}


def experiment(axes, **recipe):
    raw = yaml.safe_load(CONFIG)
    del raw["search"]
    raw["recipe"] |= {"axes": axes, **recipe}
    return Experiment.model_validate(raw)


def plain(**changes):
    """The fingerprints of the steps of a recipe that was written by hand."""
    raw = yaml.safe_load(CONFIG)
    for dotted, value in changes.items():
        *path, last = dotted.split("__")
        here = raw["recipe"]
        for key in path:
            here = here[key]
        here[last] = value
    return {step.key.fingerprint for step in make_plan(Experiment.model_validate(raw)).steps}


@pytest.mark.slow
def test_a_point_is_the_recipe_that_a_user_would_have_written():
    plan = make_plan(experiment({"ambiguity": AMBIGUITY, "k": K}))
    for scenario, (ambiguity, k) in zip(
        plan.scenarios, itertools.product([0, 0.2, 0.4], [4, 8]), strict=True
    ):
        assert scenario.point == (("ambiguity", str(ambiguity)), ("k", str(k)))
        alone = plain(corpus__grammar__ambiguity=ambiguity, signals__topk__k=k)
        assert {step.key.fingerprint for step in scenario.steps} == alone


def test_one_at_a_time_holds_the_other_axes_at_their_first_values():
    axes = {"ambiguity": AMBIGUITY, "k": K, "size": SIZES}
    points = list(points_of(experiment(axes, grid="one_at_a_time").recipe))
    first = ("0", "4", "short")
    assert [tuple(label for _, label in point) for point in points] == [
        first,
        ("0.2", "4", "short"),
        ("0.4", "4", "short"),
        ("0", "8", "short"),
        ("0", "4", "long"),
    ]


def test_what_points_have_in_common_is_made_once():
    plan = make_plan(experiment({"k": K}))
    count = {
        stage: (len(plan.of(stage)), len(list(unique(plan.of(stage)))))
        for stage in (CORPUS, TEACHER, STUDENT, SCORES)
    }
    assert count[CORPUS] == (2, 1)
    assert count[TEACHER] == (2, 1)
    assert count[STUDENT] == (4, 3), "cross-entropy reads no distributions"
    assert count[SCORES] == (6, 4)
    assert "5 trainings" not in plan.summary()
    assert "4 trainings" in plan.summary()


def test_too_few_seeds_are_told_before_anything_is_made():
    def told(**students):
        raw = experiment({}).model_dump(mode="json")
        raw["recipe"]["students"] |= students
        return [
            note for note in make_plan(Experiment.model_validate(raw)).notes() if "seed" in note
        ]

    (note,) = told(seeds=[1])
    assert "students.seeds holds one seed" in note
    assert not told(seeds=[1, 2])


def test_steps_stand_after_what_they_read_and_beside_their_like():
    axes = {"ambiguity": AMBIGUITY, "size": SIZES}
    plan = make_plan(experiment(axes))
    seen: set[str] = set()
    for step in plan.steps:
        assert {key.fingerprint for key in step.reads} <= seen
        seen.add(step.key.fingerprint)
    headings = [step.heading for step in plan.steps]
    assert len(list(itertools.groupby(headings))) == len(set(headings))
    names = [step.name for step in plan.steps if step.stage in (STUDENT, TEACHER)]
    assert len(set(names)) == len(names)
    assert "ambiguity=0.2/size=long/nano/hybrid/seed-1" in names


def test_what_follows_from_a_value_is_worked_out_at_each_point():
    languages = {
        "points": {"german": {"corpus.tgt_lang": "de"}, "chinese": {"corpus.tgt_lang": "zh"}}
    }
    shapes = {"path": "students.sizes.nano.preset", "values": ["nano", "tiny"]}
    files = {"kind": "files", "folder": ".", "src_lang": "en", "tgt_lang": "de"} | {
        name: {"src": "a", "tgt": "b"} for name in ("train", "dev")
    }
    files["tests"] = {"news": {"src": "a", "tgt": "b"}}
    recipes = points_of(experiment({"language": languages, "shape": shapes}, corpus=files).recipe)
    found = [
        (r.evaluation.bleu_tokenize, r.students.sizes["nano"].shape.width) for r in recipes.values()
    ]
    widths = sorted({width for _, width in found})
    assert len(widths) == 2
    assert found == [(tok, width) for tok in ("13a", "zh") for width in widths]


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"a": {"path": "corpus.grammer.ambiguity", "values": [1]}}, r"recipe\.axes\.a.*grammar"),
        ({"a": {"path": "students.sizes.huge.width", "values": [8]}}, r"no such field.*nano"),
        (
            {"a": {"path": "corpus.grammar.ambiguity", "values": [0, 2]}},
            r"axes\.a: 2: corpus\..*equal to 1",
        ),
        ({"a": AMBIGUITY, "b": AMBIGUITY}, r"axes\.b.*the axis a sets"),
        ({"a": AMBIGUITY, "b": {"path": "corpus.grammar", "values": [None]}}, "one field"),
        ({"a": {"path": "students.seeds", "values": [1, 2]}}, "the same at all points"),
        ({"a": {"path": "signals.topk.k", "values": [4, 4]}}, "repeat a value"),
        ({"a": {"path": "signals.topk.k", "values": []}}, r"axes\.a\.values"),
        ({"a": {"points": {}}}, r"axes\.a\.points"),
        ({"a": {"path": "signals.topk.k", "value": [4]}}, r"axes\.a.*value"),
        (
            {"a": {"path": "methods.hybrid.gate", "values": ["x"]}},
            r"axes\.a: x: methods\.hybrid\.gate",
        ),
        ({"a": {"path": "signals.topk.k", "values": [4, 4.0]}}, "repeat a value"),
        ({"a": {"points": {"x": {"evaluation": {"beams": [1]}}, "y": {}}}}, r"holds evaluation\."),
        ({"a": {"points": {"x": {"signals.topk.k": 4}, "y": {"signals.topk.k": 4}}}}, "the same"),
        ({"a": {"points": {"x": {"signals.topk.k": 4, "signals.topk": {"k": 2}}}}}, "is a part"),
        (
            {"a": {"path": "corpus.noise.rate", "values": ["0.1", "0.2"]}},
            r"axes\.a: '0\.1' is text",
        ),
        ({"a": {"path": "signals.topk.k", "values": [4, "8"]}}, "'8' is text.*without quotes"),
        ({"a": {"path": "corpus.noise.rate", "values": [[1]]}}, r"values\.0: .*boolean or int"),
        ({"a": {"points": {"x": {"corpus.noise.rate": 2}}}}, r"axes\.a: x: corpus\."),
    ],
)
def test_an_axis_that_cannot_be_is_refused_with_its_place(axes, words, tmp_path):
    raw = yaml.safe_load(CONFIG)
    raw["recipe"]["axes"] = axes
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError, match=f"(?s){words}") as refused:
        load_experiment(path)
    told = str(refused.value).splitlines()
    assert all(line.startswith(f"{path}: recipe.axes.a") for line in told) or "axes.b" in told[0]
    assert len(told) == 1 or "value: no such key" in told[1]


def test_text_of_digits_is_a_value_of_a_field_that_is_text(tmp_path):
    raw = yaml.safe_load(CONFIG)
    raw["recipe"]["axes"] = {"lang": {"path": "corpus.tgt_lang", "values": ["1", "2"]}}
    files = {name: {"src": "a", "tgt": "b"} for name in ("train", "dev")}
    raw["recipe"]["corpus"] = {"kind": "files", "folder": ".", "src_lang": "en", **files,
                               "tgt_lang": "de", "tests": {"news": files["dev"]}}  # fmt: skip
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(raw))
    assert len(points_of(load_experiment(path).recipe)) == 2
