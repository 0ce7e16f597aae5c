"""Laws of configuration models: frozen, equal after a round trip, fingerprinted as documented."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kdray.config.execution import Execution
from kdray.config.experiment import Experiment
from kdray.config.model import PRESETS, ModelConfig, Preset
from kdray.config.signals import SignalsConfig
from kdray.schema import View
from kdray.text.corpus_building import corpus_key
from kdray.text.tokenizer import tokenizer_key

SHAPE = ("width", "feedforward", "heads", "encoder_layers", "decoder_layers")
EXECUTION = {
    "decode_tokens": 512,
    "decode_memory_gb": 2.5,
    "storage": "elsewhere", "cache": "here",
    "address": "auto", "connect_seconds": 1.0, "start_seconds": 2.0,
    "cpus": 3, "train_workers": 4,
    "cpus_per_worker": 2, "use_gpu": True, "parallel_students": 2, "decode_actors": 3,
    "shard_pairs": 7, "tokens_per_pass": 512, "evaluation_cpus": 2, "max_failures": 0,
    "large_text_mb": 0.0,
    "tracking": {"enabled": False, "uri": "x", "system_metrics": False},
}  # fmt: skip


def numbers(config: ModelConfig) -> dict[str, int]:
    return {name: getattr(config, name) for name in SHAPE}


def keys(experiment: Experiment) -> tuple[str, str]:
    corpus = corpus_key(experiment.recipe.corpus)
    return corpus.fingerprint, tokenizer_key(experiment.recipe.tokenizer, corpus).fingerprint


@pytest.mark.parametrize(
    "place", ["name", "recipe.baseline", "recipe.students.training.updates", "execution.storage"]
)
def test_assignment_raises(load, place: str) -> None:
    here: object = load()
    *path, last = place.split(".")
    for name in path:
        here = getattr(here, name)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(here, last, getattr(here, last))


def test_a_round_trip_through_json_values_changes_nothing(load) -> None:
    first = load("search={methods: token_level, space: {alpha: {kind: uniform, low: 0, high: 1}}}")
    dumped = first.model_dump(mode="json")
    again = Experiment.model_validate(dumped)
    assert again == first
    assert again.model_dump(mode="json") == dumped


@pytest.mark.parametrize("preset", get_args(Preset))
def test_a_preset_is_its_numbers(preset: Preset) -> None:
    named = ModelConfig(preset=preset)
    assert numbers(named) == PRESETS[preset]
    for base in get_args(Preset):
        assert numbers(ModelConfig(preset=base, **numbers(named))) == numbers(named)


@pytest.mark.parametrize("name", SHAPE)
def test_a_number_that_is_given_overrides_the_preset_alone(name: str) -> None:
    tiny = numbers(ModelConfig(preset="tiny"))
    changed = numbers(ModelConfig(preset="tiny", **{name: 2 * tiny[name]}))
    assert changed == {**tiny, name: 2 * tiny[name]}


@pytest.mark.slow
def test_execution_changes_no_fingerprint(load) -> None:
    assert EXECUTION.keys() == Execution.model_fields.keys(), "a field is not tried here"
    plain = load()
    for name, value in EXECUTION.items():
        changed = load(f"execution.{name}={value}")
        assert getattr(changed.execution, name) != getattr(plain.execution, name)
        assert changed.recipe == plain.recipe
        assert keys(changed) == keys(plain)


def test_the_recipe_reaches_the_stages_that_read_it(load) -> None:
    plain = keys(load())
    for override in ("recipe.corpus.seed=9", "recipe.corpus.cleaning.max_words=9"):
        changed = keys(load(override))
        assert changed[0] != plain[0]
        assert changed[1] != plain[1]  # the tokenizer reads the corpus
    changed = keys(load("recipe.tokenizer.vocab_size=65"))
    assert changed[0] == plain[0]
    assert changed[1] != plain[1]
    assert keys(load("recipe.methods.token_level.alpha=0.25")) == plain


@pytest.mark.slow
@given(
    hypotheses=st.booleans(),
    online=st.booleans(),
    views=st.dictionaries(
        st.sampled_from(["topk", "sampled", "hidden"]),
        st.sets(st.sampled_from(["reference", "hypothesis"]), min_size=1),
    ),
)
def test_the_forms_that_can_be_had_are_those_that_were_asked_for(hypotheses, online, views) -> None:
    given_values: dict[str, object] = {"online": online, "topk": None}
    if not hypotheses:
        given_values["hypotheses"] = None
    given_values |= {form: {"on": sorted(on)} for form, on in views.items()}
    signals = SignalsConfig.model_validate(given_values)
    for view in (View.REFERENCE, View.HYPOTHESIS):
        there = view is View.REFERENCE or hypotheses
        wanted = {form for form, on in views.items() if view in on and there}
        assert set(signals.forms(view)) == wanted | ({"online"} if online and there else set())


def test_the_best_form_that_is_there_is_read(load) -> None:
    loaded = load("recipe.signals.hidden={}", "recipe.signals.sampled={}").recipe
    needs = loaded.methods["token_level"].needs()
    assert loaded.signals.best(needs, View.REFERENCE) == "hidden"
    assert load().recipe.signals.best(needs, View.REFERENCE) == "topk"
    warm = load("recipe.methods.token_level.temperature=2", "recipe.signals.hidden={}").recipe
    needs = warm.methods["token_level"].needs()
    assert warm.signals.best(needs, View.REFERENCE) == "hidden"  # any temperature
