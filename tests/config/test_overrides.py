"""`--set KEY=VALUE`: where it reaches, what its values become, and what it refuses."""

import pytest

from kdray.config.load import apply_override
from kdray.config.methods.cross_entropy import CrossEntropyConfig
from kdray.config.training import CosineConfig
from kdray.errors import ConfigError


@pytest.mark.parametrize("override", ["recipe.baseline", "=1", "a..b=1", ".a=1", "a.=1", ""])
def test_bad_syntax_is_refused_with_the_form(override: str) -> None:
    with pytest.raises(ConfigError, match=r"expected KEY=VALUE with a dotted key, as in a\.b=c"):
        apply_override({}, override)


def test_a_value_that_is_no_yaml_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--set a=\[1: the value is not valid YAML"):
        apply_override({}, "a=[1")


def test_a_value_with_a_key_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="stands twice"):
        apply_override({}, "a={b: 1, b: 2}")


@pytest.mark.parametrize(("held", "shown"), [("x", "'x'"), (3, "3"), ([1], r"\[1\]")])
def test_a_path_into_a_value_without_keys_is_refused(held: object, shown: str) -> None:
    with pytest.raises(ConfigError, match=f"'a' holds {shown}, which has no keys of its own"):
        apply_override({"a": held}, "a.b=1")


def test_only_the_first_equals_sign_divides() -> None:
    data: dict[str, object] = {}
    apply_override(data, "a=b=c")
    assert data == {"a": "b=c"}


def test_keys_that_are_not_there_yet_are_made() -> None:
    data: dict[str, object] = {"a": None, "z": 1}
    apply_override(data, "a.b.c={d: [1, x, null, true]}")
    assert data == {"a": {"b": {"c": {"d": [1, "x", None, True]}}}, "z": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4), ("1E5", 1e5), (".5e+2", 50.0), ("-2e-3", -2e-3), ("3", 3), ("3.0", 3.0),
        ("no", "no"), ("true", True), ("", None), ("'3'", "3"), ("e5", "e5"), ("1e", "1e"),
    ],
)  # fmt: skip
def test_values_are_read_as_yaml_with_plain_numbers_and_words(text: str, value: object) -> None:
    data: dict[str, object] = {}
    apply_override(data, f"a={text}")
    assert data["a"] == value
    assert type(data["a"]) is type(value)


def test_overrides_reach_the_experiment_in_their_order(load) -> None:
    loaded = load(
        "recipe.students.training.schedule.peak=1e-2",
        "recipe.students.training.schedule.peak=3e-4",
        "recipe.students.seeds=[4, 5]",
        "recipe.methods.extra={kind: cross_entropy, label_smoothing: 0}",
    )
    schedule = loaded.recipe.students.training.schedule
    assert schedule == CosineConfig(kind="cosine", peak=3e-4, warmup=5)
    assert loaded.recipe.students.seeds == (4, 5)
    assert loaded.recipe.methods["extra"] == CrossEntropyConfig(
        kind="cross_entropy", label_smoothing=0.0
    )


def test_a_misspelt_override_is_an_unknown_key(load) -> None:
    with pytest.raises(
        ConfigError, match=r"recipe\.students\.sed: no such key; did you mean 'seeds'"
    ):
        load("recipe.students.sed=[1]")
