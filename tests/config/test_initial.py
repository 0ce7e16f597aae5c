"""Students that start from the teacher: which layers they take, and which shapes are refused."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kdray.config.initial import Layers, SizeConfig, chosen_layers, evenly_spaced
from kdray.config.model import ModelConfig
from kdray.errors import ConfigError

MINI = ModelConfig(preset="mini")  # width 128, feedforward 256, 4 heads, 4 and 4 layers


def size(initial, **shape):
    return SizeConfig.model_validate({"preset": "mini", **shape, "initial": initial})


@pytest.mark.parametrize(
    ("count", "of", "expected"),
    [
        (1, 1, (0,)),
        (1, 12, (0,)),  # "when copying only one decoder layer, we copy layer 0"
        (2, 12, (0, 11)),
        (3, 12, (0, 6, 11)),  # the paper's example
        (3, 6, (0, 3, 5)),
        (4, 6, (0, 2, 3, 5)),
        (6, 6, (0, 1, 2, 3, 4, 5)),
    ],
)
def test_layers_are_spaced_as_shleifer_and_rush_do(count, of, expected) -> None:
    assert evenly_spaced(count, of=of) == expected


@given(st.integers(2, 60).flatmap(lambda of: st.tuples(st.integers(2, of), st.just(of))))
def test_first_and_last_are_taken_and_gaps_differ_by_one(numbers) -> None:
    count, of = numbers
    taken = evenly_spaced(count, of=of)
    assert (len(taken), taken[0], taken[-1]) == (count, 0, of - 1)
    gaps = [second - first for first, second in pairwise(taken)]
    assert min(gaps) >= 1
    assert max(gaps) - min(gaps) <= 1


def test_students_start_at_random_unless_told_otherwise(load) -> None:
    (nano,) = load().recipe.students.sizes.values()
    assert nano.initial.kind == "random"
    assert chosen_layers(nano, MINI) is None


def test_a_size_is_its_shape_and_its_start() -> None:
    pruned = size({"kind": "prune"}, width=64)
    assert pruned.shape == ModelConfig(preset="mini", width=64)
    assert type(pruned.shape) is ModelConfig


def test_layers_are_the_named_ones_or_evenly_spaced() -> None:
    named = size({"kind": "layers", "encoder": [1, 2]}, encoder_layers=2, decoder_layers=3)
    assert chosen_layers(named, MINI) == Layers(encoder=(1, 2), decoder=(0, 2, 3))
    pruned = size({"kind": "prune", "decoder": [3]}, width=64, decoder_layers=1)
    assert chosen_layers(pruned, MINI) == Layers(encoder=(0, 1, 2, 3), decoder=(3,))


@pytest.mark.parametrize("kind", ["layers", "prune"])
def test_the_teacher_s_own_shape_and_other_dropout_and_length_are_possible(kind) -> None:
    own = size({"kind": kind}, dropout=0.3, max_length=1024)
    assert chosen_layers(own, MINI) == Layers((0, 1, 2, 3), (0, 1, 2, 3))


@pytest.mark.parametrize(
    ("initial", "shape", "parts"),
    [
        ("layers", {"width": 64}, ["initial layers", "width is 64 and the teacher's 128",
                                   "as many", "prune or random"]),
        ("layers", {"feedforward": 128}, ["feedforward is 128 and the teacher's 256"]),
        ("layers", {"heads": 2}, ["heads is 2 and the teacher's 4"]),
        ("layers", {"width": 256}, ["width is 256 and the teacher's 128: it must have as many"]),
        ("layers", {"encoder_layers": 5}, ["encoder_layers is 5 and the teacher's 4",
                                           "cannot have more"]),
        ("prune", {"heads": 8}, ["initial prune", "heads is 8 and the teacher's 4: it must have"]),
        ("prune", {"heads": 2}, ["heads is 2 and the teacher's 4: it must have as many"]),
        ("prune", {"width": 136}, ["width is 136 and the teacher's 128: it cannot have more"]),
        ("prune", {"feedforward": 512}, ["feedforward is 512 and the teacher's 256"]),
        ("prune", {"decoder_layers": 6}, ["decoder_layers is 6 and the teacher's 4"]),
        ("prune", {"decoder_layers": 6, "feedforward": 512},
         ["feedforward is 512", "; decoder_layers is 6", "its shape, or use initial random"]),
    ],
)  # fmt: skip
def test_a_shape_that_the_teacher_has_not_is_refused(load, initial, shape, parts) -> None:
    raw = {"preset": "mini", **shape, "initial": {"kind": initial}}
    with pytest.raises(ConfigError) as caught:
        load(f"recipe.students.sizes={{ok: {{preset: mini}}, bad: {raw}}}")
    message = str(caught.value)
    assert "recipe: students.sizes.bad: a student with initial" in message
    assert all(part in message for part in parts), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("initial", "parts"),
    [
        ("{kind: layers, encoder: [0, 4]}",
         ["students.sizes.bad: initial.encoder names layer 4", "has 4 there, 0 to 3"]),
        ("{kind: layers, encoder: [0, 1, 2]}",
         ["students.sizes.bad: initial.encoder names 3 layers of the teacher, [0, 1, 2]",
          "encoder_layers is 2; make them agree"]),
        ("{kind: prune, decoder: []}", ["initial.decoder names 0 layers", "decoder_layers is 2"]),
        ("{kind: layers, encoder: [3, 0]}", ["encoder [3, 0] does not ascend"]),
        ("{kind: layers, encoder: [1, 1]}", ["encoder [1, 1] does not ascend"]),
        ("{kind: layers, encoder: [-1, 1]}", ["students.sizes.bad.initial.encoder.0", "-1"]),
        ("{kind: random, encoder: [0]}", ["students.sizes.bad.initial.encoder: no such key"]),
        ("{kind: layer}", ["students.sizes.bad.initial", "'layer'", "'layers'"]),
        ("{}", ["students.sizes.bad.initial: `kind` is missing; there are random, layers, prune"]),
        ("{kind: layers, encoders: [0]}", ["encoders: no such key; did you mean 'encoder'"]),
    ],
)  # fmt: skip
def test_layers_that_are_not_there_are_refused(load, initial, parts) -> None:
    shape = f"{{preset: mini, encoder_layers: 2, decoder_layers: 2, initial: {initial}}}"
    with pytest.raises(ConfigError) as caught:
        load(f"recipe.students.sizes={{bad: {shape}}}")
    message = str(caught.value)
    assert all(part in message for part in parts), message
    assert "\n" not in message


TRAINED = (
    "{kind: trained, model: {preset: mini}, "
    "training: {updates: 9, schedule: {kind: cosine, peak: 1e-3, warmup: 2}}}"
)


@pytest.mark.parametrize("kind", ["layers", "prune"])
@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["recipe.teacher=null", "recipe.methods={ce: {kind: cross_entropy}}"],
         ["but there is no teacher; add `recipe.teacher`"]),
        ([f"recipe.teacher={{kind: ensemble, members: [{TRAINED}, {TRAINED}]}}"],
         ["takes weights from one teacher, and the ensemble has 2; give it a single teacher"]),
        (["recipe.teacher={kind: checkpoint, path: somewhere}"],
         ["but recipe.tokenizer gives the students a vocabulary of their own",
          "leave recipe.tokenizer out"]),
    ],
)  # fmt: skip
def test_a_teacher_that_cannot_give_weights_is_refused(load, kind, overrides, parts) -> None:
    with pytest.raises(ConfigError) as caught:
        load(
            f"recipe.students.sizes={{a: {{preset: mini, initial: {{kind: {kind}}}}}}}", *overrides
        )
    message = str(caught.value)
    assert f"recipe: students.sizes.a: initial {kind} takes" in message
    assert all(part in message for part in parts), message
    assert "initial random" in message


def test_a_brought_teacher_is_looked_at_in_the_plan(load) -> None:
    sizes = "recipe.students.sizes={a: {preset: base, initial: {kind: prune}}}"
    brought = "recipe.teacher={kind: checkpoint, path: somewhere}"
    assert load(sizes, brought, "recipe.tokenizer=null") is not None


def test_a_round_trip_keeps_the_start(load) -> None:
    sizes = "recipe.students.sizes={a: {preset: mini, initial: {kind: prune, encoder: [0,1,2,3]}}}"
    recipe = load(sizes).recipe
    again = type(recipe).model_validate(recipe.model_dump(mode="json"))
    assert again == recipe
    with pytest.raises(ValidationError, match="frozen"):
        recipe.students.sizes["a"].initial.kind = "random"
